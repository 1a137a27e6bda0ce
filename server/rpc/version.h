#ifndef CONCORD_SERVER_RPC_VERSION_H_
#define CONCORD_SERVER_RPC_VERSION_H_

namespace concord {

// The release, as the build's project() says it.
inline constexpr char kVersion[] = CONCORD_VERSION;

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_VERSION_H_
