"""A receiver of OTLP over HTTP on loopback: what an exporter really sends, read with OpenTelemetry's own messages."""

import contextlib
import http.server
import threading

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Got:
    """What came, by path. `status` is what the receiver answers."""

    def __init__(self):
        self.bodies = []
        self.headers = []
        self.status = 200
        self.url = ""

    def spans(self):
        asked = [ExportTraceServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/traces"]
        resources = [one for request in asked for one in request.resource_spans]
        return [span for one in resources for scope in one.scope_spans for span in scope.spans]

    def resources(self):
        asked = [ExportMetricsServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/metrics"]
        return [attributes(one.resource) for request in asked for one in request.resource_metrics]

    def metrics(self):
        """The last word on each metric, by its name."""
        asked = [ExportMetricsServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/metrics"]
        resources = [one for request in asked for one in request.resource_metrics]
        return {metric.name: metric for one in resources for scope in one.scope_metrics for metric in scope.metrics}

    def points(self, name):
        metric = self.metrics()[name]
        return list((metric.histogram if metric.HasField("histogram") else metric.sum).data_points)


def attributes(of):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


@contextlib.contextmanager
def collector():
    got = Got()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.headers.append(dict(self.headers))
            got.bodies.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(got.status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    got.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
