#include "server/rpc/http_endpoint.h"

#include <utility>
#include <vector>

#include "CivetServer.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "operators/errors.h"
#include "server/rpc/listen_address.h"

namespace concord {
namespace {

void Send(mg_connection* connection, absl::string_view status,
          absl::string_view type, const std::string& body) {
  const std::string head =
      absl::StrCat("HTTP/1.1 ", status, "\r\nContent-Type: ", type,
                   "\r\nContent-Length: ", body.size(),
                   "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n");
  mg_write(connection, head.data(), head.size());
  mg_write(connection, body.data(), body.size());
}

// Serves one path, to the letter.
class Page : public CivetHandler {
 public:
  struct Content {
    absl::string_view status, type;
    std::string body;
  };
  Page(std::string path, std::function<Content()> make)
      : path_(std::move(path)), make_(std::move(make)) {}

  const std::string& path() const { return path_; }

  bool handleGet(CivetServer*, mg_connection* connection) override {
    // Civetweb matches the beginning of a path.
    if (mg_get_request_info(connection)->local_uri != path_) return false;
    const Content content = make_();
    Send(connection, content.status, content.type, content.body);
    return true;
  }

 private:
  const std::string path_;
  const std::function<Content()> make_;
};

}  // namespace

struct HttpEndpoint::Impl {
  explicit Impl(Answers answers)
      : metrics("/metrics",
                [ask = std::move(answers.metrics)] {
                  return Page::Content{
                      "200 OK", "text/plain; version=0.0.4; charset=utf-8",
                      ask()};
                }),
        health("/healthz", [ask = std::move(answers.is_serving)] {
          return ask() ? Page::Content{"200 OK", "text/plain", "serving\n"}
                       : Page::Content{"503 Service Unavailable", "text/plain",
                                       "not serving\n"};
        }) {}

  Page metrics, health;
  std::unique_ptr<CivetServer> server;  // Last: it calls the pages.
};

HttpEndpoint::HttpEndpoint(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

HttpEndpoint::~HttpEndpoint() = default;

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(
    const std::string& listen, Answers answers) {
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(listen);
  if (!address.ok() || address->host.empty()) {
    return InvalidField("INVALID_OPTION", "metrics_listen", listen,
                        "HOST:PORT or [IPv6]:PORT");
  }
  const std::vector<std::string> options = {"listening_ports",    listen,   //
                                            "num_threads",        "2",      //
                                            "request_timeout_ms", "10000",  //
                                            "enable_keep_alive",  "no"};
  auto impl = std::make_unique<Impl>(std::move(answers));
  std::vector<int> ports;
  try {
    impl->server = std::make_unique<CivetServer>(options);
    ports = impl->server->getListeningPorts();
  } catch (const CivetException&) {
    // What it says is "null context" alone.
  }
  if (ports.empty()) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", listen,
        ": is the port taken, or the address not this machine's?"));
  }
  impl->server->addHandler(impl->metrics.path(), impl->metrics);
  impl->server->addHandler(impl->health.path(), impl->health);
  auto endpoint =
      std::unique_ptr<HttpEndpoint>(new HttpEndpoint(std::move(impl)));
  endpoint->address_ = address->WithPort(ports.front());
  return endpoint;
}

}  // namespace concord
