"""Asks a service for the weather, as any Python program would."""

import requests


def handle_event(data):
    print("asking", data["service"], "for", data["city"])
    answer = requests.get(f"{data['service']}/weather/{data['city']}", timeout=3)
    answer.raise_for_status()
    weather = answer.json()["data"]
    return {"city": data["city"], "text": f"{weather['celsius']} degrees, {weather['sky']}"}
