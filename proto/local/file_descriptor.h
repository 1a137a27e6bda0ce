// Owns one open file descriptor. Threads: one at a time.
#ifndef CONCORD_PROTO_LOCAL_FILE_DESCRIPTOR_H_
#define CONCORD_PROTO_LOCAL_FILE_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace concord {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  // Takes over `descriptor`; a negative one is none.
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      Close();
      descriptor_ = std::exchange(other.descriptor_, -1);
    }
    return *this;
  }
  ~FileDescriptor() { Close(); }

  bool is_open() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }

  // What close() may report has to be learned by an fsync() before it: Linux
  // gives the descriptor up whatever close() answers.
  void Close() {
    if (is_open()) ::close(std::exchange(descriptor_, -1));
  }

 private:
  int descriptor_ = -1;
};

}  // namespace concord

#endif  // CONCORD_PROTO_LOCAL_FILE_DESCRIPTOR_H_
