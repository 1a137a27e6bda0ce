#include "server/rpc/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <vector>

#include "absl/strings/string_view.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/security/auth_context.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "operators/errors.h"

namespace concord {
namespace {

constexpr unsigned int kRefreshSeconds = 1;

struct OpenSslFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

absl::Status Wrong(absl::string_view field, const std::string& path,
                   absl::string_view accepted) {
  ERR_clear_error();
  return InvalidField("INVALID_OPTION", field, path, accepted);
}

absl::StatusOr<std::unique_ptr<BIO, OpenSslFree>> Open(
    absl::string_view field, const std::string& path) {
  std::unique_ptr<BIO, OpenSslFree> file(BIO_new_file(path.c_str(), "rb"));
  if (file == nullptr) return Wrong(field, path, "a file that can be read");
  return file;
}

absl::StatusOr<std::unique_ptr<X509, OpenSslFree>> ReadCertificate(
    absl::string_view field, const std::string& path) {
  auto file = Open(field, path);
  if (!file.ok()) return file.status();
  std::unique_ptr<X509, OpenSslFree> certificate(
      PEM_read_bio_X509(file->get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) {
    return Wrong(field, path, "a file with a certificate in PEM form");
  }
  return certificate;
}

absl::StatusOr<std::unique_ptr<EVP_PKEY, OpenSslFree>> ReadKey(
    const std::string& path) {
  auto file = Open("tls_key", path);
  if (!file.ok()) return file.status();
  // An empty passphrase: nobody is asked for one on the terminal.
  char none[] = "";
  std::unique_ptr<EVP_PKEY, OpenSslFree> key(
      PEM_read_bio_PrivateKey(file->get(), nullptr, nullptr, none));
  if (key == nullptr) {
    return Wrong("tls_key", path,
                 "a file with a private key in PEM form, without passphrase");
  }
  return key;
}

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) {
  const auto certificate = ReadCertificate("tls_cert", files.certificate);
  if (!certificate.ok()) return certificate.status();
  const auto key = ReadKey(files.key);
  if (!key.ok()) return key.status();
  if (X509_check_private_key(certificate->get(), key->get()) != 1) {
    return Wrong("tls_key", files.key, "the key of tls_cert's certificate");
  }
  if (X509_cmp_current_time(X509_get0_notBefore(certificate->get())) > 0 ||
      X509_cmp_current_time(X509_get0_notAfter(certificate->get())) < 0) {
    return Wrong("tls_cert", files.certificate,
                 "a certificate that is valid now");
  }
  if (files.client_ca.empty()) return absl::OkStatus();
  return ReadCertificate("tls_client_ca", files.client_ca).status();
}

std::shared_ptr<grpc::ServerCredentials> MakeTlsCredentials(
    const TlsFiles& files) {
  using grpc::experimental::FileWatcherCertificateProvider;
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<FileWatcherCertificateProvider>(
          files.key, files.certificate, files.client_ca, kRefreshSeconds));
  options.watch_identity_key_cert_pairs();
  if (!files.client_ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

std::string CertificateName(const grpc::AuthContext& context) {
  if (!context.IsPeerAuthenticated()) return "";
  const std::vector<grpc::string_ref> names =
      context.FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
  if (names.empty()) return "";
  return std::string(names[0].data(), names[0].size());
}

}  // namespace concord
