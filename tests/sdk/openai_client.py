"""Calls the gateway as a program with OpenAI's SDK does: openai_client.py BASE_URL KEY CALL"""

import sys

import openai

base_url, key, call = sys.argv[1:]
client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)
messages = [{"role": "user", "content": "Hello"}]


def models():
    return ",".join(model.id for model in client.models.list())


def message():
    answer = client.chat.completions.create(model="gpt-mock", messages=messages)
    return answer.choices[0].message.content


def stream():
    chunks = client.chat.completions.create(model="gpt-mock", messages=messages, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def response():
    return client.responses.create(model="gpt-mock", input="Hello").output_text


def response_stream():
    events = client.responses.create(model="gpt-mock", input="Hello", stream=True)
    seen = [event for event in events]
    deltas = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
    assert seen[-1].type == "response.completed" and seen[-1].response.output_text == deltas
    return deltas


try:
    calls = (models, message, stream, response, response_stream)
    print({function.__name__: function for function in calls}[call]())
except openai.AuthenticationError as error:
    print(f"AuthenticationError {error.status_code} {error.code}: {error.body['message']}")
