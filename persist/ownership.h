// Ownership: what a store that was opened from a snapshot has of its file: that it is the one which writes the path, and what
// is still to come. Hangs on the store, and goes with it.
#ifndef TERN_PERSIST_OWNERSHIP_H_
#define TERN_PERSIST_OWNERSHIP_H_

#include <atomic>

#include "engine/store_core.h"
#include "persist/arrivals.h"
#include "persist/generations.h"

namespace tern::persist {

class Ownership final : public detail::Attachment {
 public:
  explicit Ownership(std::string_view path) noexcept : generations(path) {}
  // Null: it isn't the one that writes a path.
  static Ownership* of(detail::StoreCore& store) noexcept {
    auto* o = static_cast<Ownership*>(store.attachment);
    return o != nullptr && o->generations.is_locked() ? o : nullptr;
  }

  Generations generations;
  std::uint64_t generation = 0;  // that was opened or saved last; of whoever saves
  Arrivals arrivals;  // none, or all there already, with copy = true

  // One at a time. Lets go with release, so that what the one before has done is seen.
  bool begin_save() noexcept { return !saving_.exchange(true, std::memory_order_acq_rel); }  // [owner] acquire
  void end_save() noexcept { saving_.store(false, std::memory_order_release); }              // [owner] release

 private:
  std::atomic<bool> saving_{false};
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_OWNERSHIP_H_
