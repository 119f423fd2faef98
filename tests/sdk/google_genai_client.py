"""Calls the gateway as a program with Google's SDK does: google_genai_client.py BASE_URL KEY CALL"""

import sys

from google import genai
from google.genai import errors, types

base_url, key, call = sys.argv[1:]
client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=base_url))


def models():
    return ",".join(model.name for model in client.models.list())


def message():
    return client.models.generate_content(model="gemini-mock", contents="Hello").text


def stream():
    chunks = client.models.generate_content_stream(model="gemini-mock", contents="Hello")
    return "".join(chunk.text or "" for chunk in chunks)


try:
    print({"models": models, "message": message, "stream": stream}[call]())
except errors.ClientError as error:
    print(f"ClientError {error.code} {error.status}: {error.message}")
