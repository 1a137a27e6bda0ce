// The terminal of this process as a surface for pictures.
#ifndef CONCORD_CLIENT_CLI_TERMINAL_H_
#define CONCORD_CLIENT_CLI_TERMINAL_H_

#include <signal.h>
#include <termios.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/live_picture.h"

namespace concord {

// While it lives: the terminal's second screen, no echo, no cursor, keys at
// once. Its destructor leaves all as it was. Signals that would end the process
// (SIGINT, SIGTERM, SIGHUP) are told by Wait instead, so that it is destroyed
// then, too; to be made before the threads that shall not take them.
class Terminal {
 public:
  // Whether stdin and stdout are one.
  static bool IsThere();

  // UNAVAILABLE where the terminal does not do what is asked.
  static absl::StatusOr<std::unique_ptr<Terminal>> Open();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  WindowSize Size() const;

  // Shows these lines and nothing else. ABORTED where the terminal is gone.
  absl::Status Show(const std::vector<std::string>& lines);

  enum class Event {
    kNone,
    kQuit,    // q, Ctrl-C, Ctrl-D or a signal that ends the process.
    kResize,  // The window has another size.
  };
  // The next one, kNone after `timeout`.
  Event Wait(absl::Duration timeout);

 private:
  Terminal() = default;

  termios before_ = {};
  sigset_t mask_before_ = {};
  int signals_ = -1;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_TERMINAL_H_
