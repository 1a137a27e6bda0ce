#include "server/storage/state_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "proto/wire/checksum.h"
#include "server/storage/file_operations.h"
#include "server/storage/file_status.h"

namespace concord {
namespace {

constexpr uint64_t kPage = 4096;
constexpr char kMagic[8] = {'C', 'O', 'N', 'C', 'O', 'R', 'D', 'S'};
constexpr uint32_t kVersion = 1;
constexpr size_t kIdentityBytes = 64;
constexpr size_t kBootIdBytes = 64;
constexpr off_t kSyncBytes = 32 << 20;

uint64_t WholePages(uint64_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

// Of a fixed part that ends with its checksum.
template <class T>
uint64_t ChecksumOfFixed(const T& part) {
  return wire::ChecksumOf(
      {reinterpret_cast<const std::byte*>(&part), offsetof(T, checksum)});
}

uint64_t ChecksumOfBytes(const std::byte* data, uint64_t size) {
  return wire::ChecksumOf({data, static_cast<size_t>(size)});
}

absl::Status FileProblem(absl::StatusCode code, const char* reason,
                         const std::string& path, const std::string& why) {
  return MakeError(code, {reason, "", "", "", {{"file", path}, {"why", why}}},
                   absl::StrCat(path, ": ", why));
}

absl::Status Damaged(const std::string& path, const std::string& why) {
  return FileProblem(absl::StatusCode::kDataLoss, "STATE_DAMAGED", path, why);
}

absl::Status Foreign(const std::string& path, const std::string& why) {
  return FileProblem(absl::StatusCode::kFailedPrecondition, "STATE_FOREIGN",
                     path, why);
}

class Mapping : public DeviceMemory {
 public:
  Mapping(void* begin, size_t bytes, size_t offset)
      : begin_(begin), bytes_(bytes), offset_(offset) {}
  ~Mapping() override { munmap(begin_, bytes_); }
  void* data() const override {
    return static_cast<std::byte*>(begin_) + offset_;
  }
  size_t size() const override { return bytes_ - offset_; }

 private:
  void* const begin_;
  const size_t bytes_;
  const size_t offset_;
};

}  // namespace

namespace {

// What the switch is for a record of that number, of which it has the parity.
uint64_t SwitchWord(uint64_t number) {
  const uint64_t low = number & 0xffffffff;
  return (~low << 32) | low;
}

}  // namespace

struct StateFile::Header {
  char magic[8];
  uint32_t version;
  uint32_t vectors;
  uint64_t vector_bytes;
  uint64_t record_bytes;
  uint64_t creation_bytes;
  uint64_t creation_checksum;
  char identity[kIdentityBytes];  // Padded with zeros.
  uint64_t checksum;
};

struct StateFile::Mount {
  char boot_id[kBootIdBytes];
  uint64_t clean;
  uint64_t checksum;
};

struct StateFile::Record {
  uint64_t number;
  uint64_t length;
  uint64_t checksum;  // Of number, length and the bytes that follow.

  uint64_t Sum(const std::byte* bytes) const {
    wire::Checksum sum;
    sum.Add(
        {reinterpret_cast<const std::byte*>(this), offsetof(Record, checksum)});
    sum.Add({bytes, static_cast<size_t>(length)});
    return sum.Digest();
  }
};

struct StateFile::Layout {
  static constexpr uint64_t kMount = kPage;
  static constexpr uint64_t kSwitch = 2 * kPage;
  static constexpr uint64_t kCreation = 3 * kPage;
  static uint64_t RecordSlot(const Shape& shape) {
    return WholePages(sizeof(Record) + shape.record_bytes);
  }
  static uint64_t Records(uint64_t creation_bytes) {
    return kCreation + WholePages(creation_bytes);
  }
  static uint64_t Vectors(const Shape& shape, uint64_t creation_bytes) {
    return Records(creation_bytes) + 2 * RecordSlot(shape);
  }
};

StateFile::StateFile(std::string path, FileDescriptor file, const Shape& shape,
                     uint64_t creation_bytes)
    : path_(std::move(path)),
      file_(std::move(file)),
      shape_(shape),
      creation_bytes_(creation_bytes),
      control_bytes_(Layout::Vectors(shape, creation_bytes)) {}

StateFile::~StateFile() {
  if (control_ != nullptr) munmap(control_, control_bytes_);
}

uint64_t StateFile::PlaceBytes() const {
  // Whatever the offset at which the vector begins in its pages.
  return WholePages(shape_.vector_bytes) + kPage;
}

uint64_t StateFile::OffsetOf(uint32_t place) const {
  return control_bytes_ + place * PlaceBytes();
}

std::byte* StateFile::RecordAt(uint64_t number) const {
  return control_ + Layout::Records(creation_bytes_) +
         number % 2 * Layout::RecordSlot(shape_);
}

std::atomic_ref<uint64_t> StateFile::Switch() const {
  return std::atomic_ref<uint64_t>(
      *reinterpret_cast<uint64_t*>(control_ + Layout::kSwitch));
}

absl::Status StateFile::MapControl() {
  void* const data = mmap(nullptr, control_bytes_, PROT_READ | PROT_WRITE,
                          MAP_SHARED, file_.get(), 0);
  if (data == MAP_FAILED) return FileError(errno, "mapping", path_);
  control_ = static_cast<std::byte*>(data);
  return absl::OkStatus();
}

absl::Status StateFile::Mark(absl::string_view boot_id, bool clean) {
  Mount mount = {};
  std::copy_n(boot_id.data(), std::min(boot_id.size(), kBootIdBytes),
              mount.boot_id);
  mount.clean = clean ? 1 : 0;
  mount.checksum = ChecksumOfFixed(mount);
  std::memcpy(control_ + Layout::kMount, &mount, sizeof(mount));
  // The mark must not be behind what it says of the rest.
  if (msync(control_ + Layout::kMount, kPage, MS_SYNC) != 0) {
    return FileError(errno, "writing", path_);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<StateFile>> StateFile::Create(
    const std::string& path, const Shape& shape, absl::string_view identity,
    absl::string_view creation, absl::string_view boot_id) {
  if (identity.size() > kIdentityBytes) {
    return absl::InvalidArgumentError("a state file's identity is too long");
  }
  absl::StatusOr<FileDescriptor> file =
      OpenFile(path, O_RDWR | O_CREAT | O_EXCL);
  if (!file.ok()) return file.status();
  std::shared_ptr<StateFile> state(
      new StateFile(path, *std::move(file), shape, creation.size()));
  const auto fail = [&](absl::Status status) {
    unlink(path.c_str());
    return status;
  };
  const uint64_t bytes = state->OffsetOf(shape.vectors);
  const int error =
      posix_fallocate(state->file_.get(), 0, static_cast<off_t>(bytes));
  if (error != 0) return fail(FileError(error, "allocating", path));
  absl::Status status = state->MapControl();
  if (!status.ok()) return fail(status);
  std::memcpy(state->control_ + Layout::kCreation, creation.data(),
              creation.size());
  Header header = {};
  std::copy_n(kMagic, sizeof(kMagic), header.magic);
  header.version = kVersion;
  header.vectors = shape.vectors;
  header.vector_bytes = shape.vector_bytes;
  header.record_bytes = shape.record_bytes;
  header.creation_bytes = creation.size();
  header.creation_checksum =
      ChecksumOfBytes(state->control_ + Layout::kCreation, creation.size());
  std::copy_n(identity.data(), identity.size(), header.identity);
  header.checksum = ChecksumOfFixed(header);
  std::memcpy(state->control_, &header, sizeof(header));
  state->identity_ = std::string(identity);
  state->creation_ = std::string(creation);
  state->boot_id_ = std::string(boot_id);
  status = state->Mark(boot_id, /*clean=*/false);
  if (!status.ok()) return fail(status);
  return state;
}

absl::StatusOr<std::shared_ptr<StateFile>> StateFile::Open(
    const std::string& path, absl::string_view boot_id) {
  absl::StatusOr<FileDescriptor> file = OpenFile(path, O_RDWR);
  if (!file.ok()) return file.status();
  struct stat found = {};
  if (fstat(file->get(), &found) != 0) {
    return FileError(errno, "looking at", path);
  }
  const auto size = static_cast<uint64_t>(found.st_size);
  Header header = {};
  const ssize_t got = pread(file->get(), &header, sizeof(header), 0);
  if (got < 0) return FileError(errno, "reading", path);
  if (static_cast<size_t>(got) < sizeof(header)) {
    return Damaged(path, absl::StrCat("truncated to ", size, " bytes"));
  }
  const bool intact = header.checksum == ChecksumOfFixed(header);
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) {
    return Foreign(path, "not a state file");
  }
  // The header has its size and checksum in every version.
  if (intact && header.version > kVersion) {
    return FileProblem(
        absl::StatusCode::kFailedPrecondition, "STATE_NEWER", path,
        absl::StrCat("version ", header.version, ", known is ", kVersion));
  }
  if (!intact) return Damaged(path, "the header's checksum does not fit");
  const Shape shape = {header.vector_bytes, header.vectors,
                       header.record_bytes};
  std::shared_ptr<StateFile> state(
      new StateFile(path, *std::move(file), shape, header.creation_bytes));
  if (size < state->OffsetOf(shape.vectors)) {
    return Damaged(path,
                   absl::StrCat("truncated to ", size, " of ",
                                state->OffsetOf(shape.vectors), " bytes"));
  }
  absl::Status status = state->MapControl();
  if (!status.ok()) return status;
  Mount mount;
  std::memcpy(&mount, state->control_ + Layout::kMount, sizeof(mount));
  if (mount.checksum != ChecksumOfFixed(mount)) {
    return Damaged(path, "the mount page's checksum does not fit");
  }
  const std::byte* const creation = state->control_ + Layout::kCreation;
  if (ChecksumOfBytes(creation, header.creation_bytes) !=
      header.creation_checksum) {
    return Damaged(path, "the checksum of what was created does not fit");
  }
  state->identity_.assign(header.identity,
                          strnlen(header.identity, sizeof(header.identity)));
  state->creation_.assign(reinterpret_cast<const char*>(creation),
                          header.creation_bytes);
  state->was_clean_ = mount.clean == 1;
  const absl::string_view boot(mount.boot_id,
                               strnlen(mount.boot_id, kBootIdBytes));
  if (!state->was_clean_ && boot != boot_id) {
    return FileProblem(
        absl::StatusCode::kFailedPrecondition, "UNCLEAN", path,
        "the machine has been started anew since it was last in use");
  }
  status = state->ReadRecord();
  if (!status.ok()) return status;
  state->boot_id_ = std::string(boot_id);
  status = state->Mark(boot_id, /*clean=*/false);
  if (!status.ok()) return status;
  return state;
}

absl::Status StateFile::ReadRecord() {
  const uint64_t word = Switch().load(std::memory_order_acquire);
  if (word == 0) {
    return Foreign(path_, "its creation was not finished");
  }
  if (word != SwitchWord(word)) {
    return Damaged(path_, "the switch does not fit its complement");
  }
  Record record;
  const std::byte* const at = RecordAt(word);
  std::memcpy(&record, at, sizeof(record));
  if (SwitchWord(record.number) != word ||
      record.length > shape_.record_bytes ||
      record.checksum != record.Sum(at + sizeof(record))) {
    return Damaged(path_, absl::StrCat("record ", record.number,
                                       ": its checksum does not fit"));
  }
  number_ = record.number;
  record_.assign(reinterpret_cast<const char*>(at + sizeof(record)),
                 record.length);
  return absl::OkStatus();
}

absl::Status StateFile::Write(absl::string_view bytes) {
  if (bytes.size() > shape_.record_bytes) {
    return MakeError(absl::StatusCode::kResourceExhausted,
                     {"LIMIT_EXCEEDED",
                      "record",
                      absl::StrCat(bytes.size(), " bytes"),
                      absl::StrCat("at most ", shape_.record_bytes),
                      {}});
  }
  const uint64_t number = number_ + 1;
  std::byte* const at = RecordAt(number);
  Record record = {number, bytes.size(), 0};
  std::memcpy(at + sizeof(record), bytes.data(), bytes.size());
  record.checksum = record.Sum(at + sizeof(record));
  std::memcpy(at, &record, sizeof(record));
  Switch().store(SwitchWord(number), std::memory_order_release);
  number_ = number;
  return absl::OkStatus();
}

absl::Status StateFile::Close(absl::string_view record,
                              absl::FunctionRef<bool()> give_up) {
  const absl::Status status = Write(record);
  if (!status.ok()) return status;
  // Piece by piece, so that there is an end to it.
  struct stat found = {};
  if (fstat(file_.get(), &found) != 0) {
    return FileError(errno, "looking at", path_);
  }
  for (off_t begin = 0; begin < found.st_size; begin += kSyncBytes) {
    if (give_up()) {
      return absl::DeadlineExceededError(
          absl::StrCat(path_, " is not written out yet"));
    }
    if (sync_file_range(file_.get(), begin, kSyncBytes,
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                            SYNC_FILE_RANGE_WAIT_AFTER) != 0 &&
        errno != ENOSYS) {
      return FileError(errno, "writing", path_);
    }
  }
  if (fsync(file_.get()) != 0) return FileError(errno, "writing", path_);
  return Mark(boot_id_, /*clean=*/true);
}

absl::StatusOr<std::unique_ptr<DeviceMemory>> StateFile::Allocate(
    uint32_t place) {
  const auto offset = static_cast<off_t>(OffsetOf(place));
  const uint64_t bytes = PlaceBytes();
  const int error =
      posix_fallocate(file_.get(), offset, static_cast<off_t>(bytes));
  if (error != 0) return FileError(error, "allocating", path_);
  void* const data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                          file_.get(), offset);
  if (data == MAP_FAILED) return FileError(errno, "mapping", path_);
  return std::make_unique<Mapping>(data, bytes, VectorOffset(place));
}

void StateFile::Forget(uint32_t place) {
  // Only gives space back; without it the file stays as long as it is.
  (void)fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(OffsetOf(place)),
                  static_cast<off_t>(PlaceBytes()));
}

absl::StatusOr<std::string> ReadBootId() {
  constexpr char kPath[] = "/proc/sys/kernel/random/boot_id";
  std::ifstream file(kPath);
  std::string id;
  if (!(file >> id)) return FileError(EIO, "reading", kPath);
  return id;
}

}  // namespace concord
