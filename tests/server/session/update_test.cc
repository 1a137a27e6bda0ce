#include "server/session/update.h"

#include <thread>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace concord {
namespace {

bool Never() { return false; }

TEST(Update, AReaderFollowsTheWriter) {
  const std::shared_ptr<UpdatePool> pool = UpdatePool::Make(300);
  const std::shared_ptr<Update> update = *pool->Acquire();
  absl::Notification begun;
  std::thread writer([&] {
    begun.WaitForNotification();
    for (size_t end = 100; end <= 300; end += 100) {
      update->buffer()[end - 1] = std::byte{7};
      update->Publish(end);
    }
    v1::StepTrailer trailer;
    trailer.set_step(5);
    update->Complete(trailer);
  });
  EXPECT_EQ(update->final_bytes(), 0);
  begun.Notify();
  for (const size_t end : {1, 150, 300}) {
    ASSERT_TRUE(update->Wait(end, Never).ok());
    EXPECT_GE(update->final_bytes(), end);
  }
  EXPECT_EQ(update->data()[299], std::byte{7});
  EXPECT_EQ((*update->WaitForTrailer(Never))->step(), 5);
  writer.join();
}

TEST(Update, AWaitEndsWhenItIsCancelledOrTheCommitFails) {
  const std::shared_ptr<UpdatePool> pool = UpdatePool::Make(300);
  const std::shared_ptr<Update> update = *pool->Acquire();
  EXPECT_EQ(update->Wait(1, [] { return true; }).code(),
            absl::StatusCode::kCancelled);
  update->Publish(100);
  update->Fail(absl::InternalError("the device failed"));
  EXPECT_TRUE(update->Wait(100, Never).ok());
  EXPECT_EQ(update->Wait(101, Never).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(update->WaitForTrailer(Never).status().code(),
            absl::StatusCode::kInternal);
}

TEST(UpdatePool, KeepsOneSpareAndAllocatesOnlyForLaggards) {
  const std::shared_ptr<UpdatePool> pool = UpdatePool::Make(300);
  for (int i = 0; i < 5; ++i) {
    const std::shared_ptr<Update> update = *pool->Acquire();
    EXPECT_EQ(update->final_bytes(), 0);
    update->Publish(300);
    update->Complete({});
  }
  EXPECT_EQ(pool->allocations(), 1);
  std::shared_ptr<Update> laggard = *pool->Acquire();
  for (int i = 0; i < 5; ++i) {
    const std::shared_ptr<Update> update = *pool->Acquire();
    EXPECT_NE(update, laggard);
  }
  EXPECT_EQ(pool->allocations(), 2);
  laggard = nullptr;
}

TEST(UpdatePool, MayGoBeforeItsUpdates) {
  std::shared_ptr<Update> update = *UpdatePool::Make(300)->Acquire();
  update->buffer()[299] = std::byte{1};
  update = nullptr;
}

}  // namespace
}  // namespace concord
