"""Sends one upload the way a Python program does, and prints what it heard as JSON.

The three ways differ in when they look for an answer: `http.client` and `requests` only when they have sent everything,
the bare socket only when it cannot send any more or has sent everything.
"""

import argparse
import http.client
import json
import socket
import urllib.parse

PIECE = b"x" * 65536


def pieces(size):
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)


def by_http_client(url, size, chunked):
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    headers = {} if chunked else {"Content-Length": str(size)}
    connection.request("POST", url.path, body=pieces(size), headers=headers, encode_chunked=chunked)
    answer = connection.getresponse()
    return answer.status, answer.read()


def by_requests(url, size, chunked):
    import requests

    body = pieces(size) if chunked else b"x" * size
    answer = requests.post(url.geturl(), data=body, timeout=60)
    return answer.status_code, answer.content


def by_socket(url, size, chunked):
    connection = socket.create_connection((url.hostname, url.port), timeout=60)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    connection.sendall(f"POST {url.path} HTTP/1.1\r\nHost: {url.hostname}\r\n{framing}\r\n\r\n".encode())
    try:
        for piece in pieces(size):
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


WAYS = {"http.client": by_http_client, "requests": by_requests, "socket": by_socket}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--way", choices=WAYS, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--chunked", action="store_true")
    arguments = parser.parse_args()
    url = urllib.parse.urlsplit(arguments.url)
    status, body = WAYS[arguments.way](url, arguments.size, arguments.chunked)
    print(json.dumps({"status": status, "body": json.loads(body)}))


if __name__ == "__main__":
    main()
