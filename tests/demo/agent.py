"""A small agent for the tour: it does a little of everything that an auditor asks about."""

import http.server
import os
import socket
import subprocess
import tempfile
import threading


def serve():
    """A loopback server, so that there is something to connect to without a network."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None
    threading.Thread(target=server.handle_request, daemon=True).start()
    return server.server_address[1]


def main():
    os.chdir(tempfile.mkdtemp(prefix="graven-agent-"))

    # Files: written, read, renamed, linked.
    with open("plan.txt", "w") as plan:
        plan.write("1. look around\n2. do the work\n3. clean up\n")
    with open("plan.txt") as plan:
        plan.read()
    os.rename("plan.txt", "done.txt")
    os.symlink("done.txt", "latest")

    # Permissions.
    os.chmod("done.txt", 0o600)
    os.chown("done.txt", os.getuid(), os.getgid())

    # Children.
    subprocess.run(["sh", "-c", "wc -l < done.txt > lines && cat lines > /dev/null"], check=True)
    subprocess.run(["uname", "-a"], stdout=subprocess.DEVNULL, check=True)

    # The network: a name resolved, a loopback server asked.
    port = serve()
    address = socket.getaddrinfo("localhost", port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        client.recv(1024)

    # Clean up.
    for name in ("latest", "done.txt", "lines"):
        os.unlink(name)
    os.rmdir(os.getcwd())
    print("agent: done")


main()
