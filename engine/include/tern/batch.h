// WriteBatch: sets, deletes and conditions on several keys that take effect together at one moment, or not at all.
//
//   tern::WriteBatch batch;
//   batch.require_value("gold:ann", "70");
//   batch.set("gold:ann", "60");
//   batch.set("gold:bob", "40");
//   if (auto done = store.write(batch); done.status() == tern::Status::kConflict) retry(batch.failed());
#ifndef TERN_BATCH_H_
#define TERN_BATCH_H_

#include <tern/options.h>
#include <tern/status.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tern {

class Namespace;
class Store;

namespace detail {
class BatchList;
struct Context;
struct NameRules;
}

// A list of operations, in the order in which they were added: keys and values are copied into it. clear() keeps its
// memory for the next use. Belongs to one thread at a time. No call fails: a list that found no memory, or has an operation
// that can't be, is refused when it is written.
class TERN_API WriteBatch {
 public:
  WriteBatch() noexcept = default;
  WriteBatch(WriteBatch&& other) noexcept;
  WriteBatch& operator=(WriteBatch&& other) noexcept;
  WriteBatch(const WriteBatch&) = delete;
  WriteBatch& operator=(const WriteBatch&) = delete;
  ~WriteBatch();

  // What is added from now on is about keys of this namespace, or of the store's default one, whatever the batch is written
  // through; before that, of that which it is written through. All of one store, or the batch is refused: invalid_argument
  // (name). Answers itself.
  WriteBatch& in(const Namespace& ns) noexcept;
  WriteBatch& in(const Store& store) noexcept;

  // As Store::set. if_absent, if_present and if_version are conditions of the whole batch; return_previous and if_fence are
  // refused.
  void set(std::string_view key, std::string_view value) noexcept;
  void set(std::string_view key, std::string_view value, const SetOptions& options) noexcept;
  // Whether the key is there or not.
  void del(std::string_view key) noexcept;
  // Conditions on the state before the batch, whatever else the batch does to the key. An entry past its deadline is
  // absent.
  void require_absent(std::string_view key) noexcept;
  void require_present(std::string_view key) noexcept;
  void require_version(std::string_view key, std::uint64_t version) noexcept;
  void require_value(std::string_view key, std::string_view value) noexcept;
  // The lock is held with this token (lock.h).
  void require_fence(const Fence& fence) noexcept;

  std::size_t size() const noexcept { return count_; }  // operations
  bool empty() const noexcept { return count_ == 0; }
  void clear() noexcept;

  // After a write that succeeded: the version that operation `index`, a set, gave its key; 0 for other operations, and for
  // a set that a later operation of the batch on the same key made void.
  std::uint64_t version(std::size_t index) const noexcept;
  // After a write that did not: the operation whose condition failed (conflict; of several, the first that was false when
  // they were looked at), or that was refused (invalid_key, too_large, invalid_argument, out_of_range). size() if no
  // single operation is to blame.
  std::size_t failed() const noexcept { return failed_; }

 private:
  friend class detail::BatchList;
  struct Operation;

  // Whose keys.
  struct Place {
    std::uint64_t store_id = 0;  // 0: as the call says
    const detail::NameRules* rules = nullptr;
  };
  WriteBatch& in(const detail::Context& context) noexcept;
  Operation* add(std::string_view key, std::string_view value) noexcept;

  Operation* operations_ = nullptr;
  std::size_t count_ = 0;
  std::size_t capacity_ = 0;
  char* bytes_ = nullptr;
  std::size_t used_ = 0;
  std::size_t bytes_capacity_ = 0;
  std::size_t failed_ = 0;
  bool out_of_memory_ = false;
  bool has_options_ = false;  // some set
  bool has_conditions_ = false;
  bool has_places_ = false;  // of some operations
  bool has_fences_ = false;
  Place place_{};
};

}  // namespace tern

#endif  // TERN_BATCH_H_
