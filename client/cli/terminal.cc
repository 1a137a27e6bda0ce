#include "client/cli/terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace concord {
namespace {

constexpr absl::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[2J";
constexpr absl::string_view kLeave = "\x1b[?25h\x1b[?1049l";
constexpr char kCtrlC = 3, kCtrlD = 4;

bool WriteAll(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

absl::Status Failed(const char* what) {
  return absl::UnavailableError(
      absl::StrCat(what, " of the terminal: ", std::strerror(errno)));
}

}  // namespace

bool Terminal::IsThere() {
  return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
}

absl::StatusOr<std::unique_ptr<Terminal>> Terminal::Open() {
  auto terminal = absl::WrapUnique(new Terminal);
  if (::tcgetattr(STDIN_FILENO, &terminal->before_) != 0) {
    return Failed("tcgetattr()");
  }
  sigset_t told;
  sigemptyset(&told);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) {
    sigaddset(&told, number);
  }
  pthread_sigmask(SIG_BLOCK, &told, &terminal->mask_before_);
  terminal->signals_ = ::signalfd(-1, &told, SFD_CLOEXEC | SFD_NONBLOCK);
  if (terminal->signals_ < 0) return Failed("signalfd()");
  termios raw = terminal->before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  if (::tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) != 0) {
    return Failed("tcsetattr()");
  }
  if (!WriteAll(kEnter)) return Failed("write()");
  return terminal;
}

Terminal::~Terminal() {
  if (signals_ < 0) return;  // Nothing was changed.
  WriteAll(kLeave);
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  ::close(signals_);
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

WindowSize Terminal::Size() const {
  winsize size = {};
  WindowSize found;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 &&
      size.ws_row > 0) {
    found.columns = size.ws_col;
    found.rows = size.ws_row;
  }
  return found;
}

absl::Status Terminal::Show(const std::vector<std::string>& lines) {
  // Each line over the old one, so that nothing flickers.
  std::string all = "\x1b[H";
  for (size_t i = 0; i < lines.size(); ++i) {
    absl::StrAppend(&all, i > 0 ? "\r\n" : "", lines[i], "\x1b[K");
  }
  absl::StrAppend(&all, "\x1b[J");
  return WriteAll(all) ? absl::OkStatus()
                       : absl::AbortedError("the terminal is gone");
}

Terminal::Event Terminal::Wait(absl::Duration timeout) {
  pollfd ready[] = {{STDIN_FILENO, POLLIN, 0}, {signals_, POLLIN, 0}};
  if (::poll(ready, 2, static_cast<int>(absl::ToInt64Milliseconds(timeout))) <=
      0) {
    return Event::kNone;
  }
  signalfd_siginfo signal;
  bool resized = false;
  while (::read(signals_, &signal, sizeof(signal)) == sizeof(signal)) {
    if (signal.ssi_signo != SIGWINCH) return Event::kQuit;
    resized = true;
  }
  if (ready[0].revents != 0) {
    char keys[64];
    const ssize_t count = ::read(STDIN_FILENO, keys, sizeof(keys));
    if (count <= 0) return Event::kQuit;
    for (const char key : absl::string_view(keys, count)) {
      if (key == 'q' || key == 'Q' || key == kCtrlC || key == kCtrlD) {
        return Event::kQuit;
      }
    }
  }
  return resized ? Event::kResize : Event::kNone;
}

}  // namespace concord
