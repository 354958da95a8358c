"""Submits one job over AMQP with plain pika, publishing the same message twice, and prints what comes back.

    submit.py AMQP_URL EXCHANGE API_KEY ACTION

One line of JSON for each answer: its type, correlation id and body. Ends after two acceptances and a result, or after
the second refusal.
"""

import json
import sys
import time
import uuid

import pika

url, exchange, key, action = sys.argv[1:]

connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.confirm_delivery()
replies = channel.queue_declare(queue="", exclusive=True).method.queue

# A dispatcher that has only just started may still be declaring it. The queue behind it has the same name.
until = time.monotonic() + 20
while True:
    try:
        if connection.channel().queue_declare(queue=exchange, passive=True).method.consumer_count:
            break
    except pika.exceptions.ChannelClosedByBroker:
        pass
    if time.monotonic() > until:
        sys.exit("nobody takes requests within 20 s")
    time.sleep(0.05)

properties = pika.BasicProperties(
    message_id=str(uuid.uuid4()),
    reply_to=replies,
    correlation_id="my-correlation",
    content_type="application/json",
    headers={"authorization": f"Bearer {key}"},
)
body = json.dumps({"action": action, "input": {"city": "Oslo"}})
for _ in range(2):
    channel.basic_publish(exchange=exchange, routing_key="", body=body, properties=properties, mandatory=True)

counts = {"accepted": 0, "refused": 0, "finished": 0}
for method, answer, payload in channel.consume(replies, auto_ack=True, inactivity_timeout=20):
    if method is None:
        sys.exit("no further answer within 20 s")
    counts[answer.type] += 1
    print(json.dumps({"type": answer.type, "correlation_id": answer.correlation_id, "body": json.loads(payload)}))
    if counts["refused"] == 2 or (counts["accepted"] == 2 and counts["finished"]):
        break
connection.close()
