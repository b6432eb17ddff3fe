"""A reverse proxy on loopback that puts a server below a path, as the quiz's owner would."""

import contextlib
import http.client
import http.server
import threading


@contextlib.contextmanager
def below(path, address, strip):
    """Passes on what is asked below a path, with or without it; yields the proxy's address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def pass_on(self):
            if not self.path.startswith(f"{path}/"):
                self.send_error(502)
                return
            target = self.path.removeprefix(path) if strip else self.path
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream = http.client.HTTPConnection(address, timeout=60)
            upstream.request(self.command, target, body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "date"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            upstream.close()

        do_GET = do_POST = pass_on

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
