// Ownership: that a store is the one which writes its snapshot's path. Hangs on the store, and goes with it.
#ifndef TERN_PERSIST_OWNERSHIP_H_
#define TERN_PERSIST_OWNERSHIP_H_

#include <atomic>

#include "engine/store_core.h"
#include "persist/generations.h"

namespace tern::persist {

class Ownership final : public detail::Attachment {
 public:
  explicit Ownership(std::string_view path) noexcept : generations(path) {}
  static Ownership* of(detail::StoreCore& store) noexcept { return static_cast<Ownership*>(store.attachment); }

  Generations generations;  // locked

  // One at a time. Lets go with release, so that what the one before has done is seen.
  bool begin_save() noexcept { return !saving_.exchange(true, std::memory_order_acq_rel); }  // [owner] acquire
  void end_save() noexcept { saving_.store(false, std::memory_order_release); }              // [owner] release

 private:
  std::atomic<bool> saving_{false};
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_OWNERSHIP_H_
