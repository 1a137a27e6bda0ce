// TLS for what listens on HOST:PORT.
#ifndef CONCORD_SERVER_RPC_TLS_H_
#define CONCORD_SERVER_RPC_TLS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpc {
class AuthContext;
class ServerCredentials;
}  // namespace grpc

namespace concord {

// Files in PEM form. They are read again within a second when they change:
// connections that come then have the new ones, those that are open stay.
// Replace a certificate and its key together (by renaming a link to their
// folder, as Kubernetes does).
struct TlsFiles {
  std::string certificate;  // The server's, with what its issuer needs.
  std::string key;
  // Of those who issue clients' certificates. Not empty: a client without one
  // is not connected (mutual TLS).
  std::string client_ca;

  bool is_set() const { return !certificate.empty(); }
};

// INVALID_ARGUMENT (INVALID_OPTION) where a file cannot be read, is not PEM,
// the certificate is not valid now, or key and certificate do not belong
// together.
absl::Status CheckTlsFiles(const TlsFiles& files);

std::shared_ptr<grpc::ServerCredentials> MakeTlsCredentials(
    const TlsFiles& files);

// The common name of the certificate that the client has shown; "": none.
std::string CertificateName(const grpc::AuthContext& context);

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_TLS_H_
