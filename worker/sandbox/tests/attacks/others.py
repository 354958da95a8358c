

def nothing(data, context):
    pass
