// WriteBatch, and the calls that write one: arguments are checked here, and nowhere below.
#include <tern/batch.h>
#include <tern/namespace.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "alloc/private_memory.h"
#include "engine/batch_writer.h"
#include "engine/lease_calls.h"
#include "engine/store_core.h"
#include "engine/stored_key.h"

namespace tern {

struct WriteBatch::Operation {
  detail::BatchOperation::Kind kind;
  detail::BatchCondition::Kind require;
  bool has_options;
  bool is_fence;  // its key is a lock's name
  std::optional<std::uint16_t> fence_of;
  std::size_t key_at, key_size;  // the value follows the key
  std::size_t value_size;
  std::uint64_t version;   // of a condition; then what a set was given
  std::size_t options_at;  // behind both, if there are any
  Place place;

  // Apart from the others: most operations have none, and a list of them is gone over more than once.
  struct Options {
    SetOptions of{};  // but for its tags and metadata
    std::size_t tags_at = 0, tags_size = 0;
    Error refused{};
  };
  std::string_view key(const char* bytes) const noexcept { return {bytes + key_at, key_size}; }
  std::string_view value(const char* bytes) const noexcept { return {bytes + key_at + key_size, value_size}; }
  Options options(const char* bytes) const noexcept {
    Options o;
    std::memcpy(static_cast<void*>(&o), bytes + options_at, sizeof o);
    return o;
  }
};

WriteBatch::WriteBatch(WriteBatch&& other) noexcept { *this = std::move(other); }
WriteBatch& WriteBatch::operator=(WriteBatch&& other) noexcept {
  std::swap(operations_, other.operations_);
  std::swap(count_, other.count_);
  std::swap(capacity_, other.capacity_);
  std::swap(bytes_, other.bytes_);
  std::swap(used_, other.used_);
  std::swap(bytes_capacity_, other.bytes_capacity_);
  std::swap(failed_, other.failed_);
  std::swap(has_options_, other.has_options_);
  std::swap(has_conditions_, other.has_conditions_);
  std::swap(has_places_, other.has_places_);
  std::swap(has_fences_, other.has_fences_);
  std::swap(place_, other.place_);
  std::swap(out_of_memory_, other.out_of_memory_);
  return *this;
}
WriteBatch::~WriteBatch() {
  alloc::private_free(operations_);
  alloc::private_free(bytes_);
}

void WriteBatch::clear() noexcept {
  count_ = used_ = failed_ = 0;
  out_of_memory_ = has_options_ = has_conditions_ = has_places_ = has_fences_ = false;
  place_ = {};
}

namespace {

// Room for `wanted` elements, the first `used` kept. False: no memory.
template <class T>
bool grow(T*& memory, std::size_t& capacity, std::size_t used, std::size_t wanted) noexcept {
  if (wanted <= capacity) return true;
  const std::size_t more = std::max(wanted, capacity * 2 + 1024 / sizeof(T));
  T* to = static_cast<T*>(alloc::private_allocate(more * sizeof(T)));
  if (to == nullptr) return false;
  if (used != 0) std::memcpy(static_cast<void*>(to), static_cast<const void*>(memory), used * sizeof(T));
  alloc::private_free(memory);
  memory = to;
  capacity = more;
  return true;
}

}  // namespace

WriteBatch::Operation* WriteBatch::add(std::string_view key, std::string_view value) noexcept {
  static_assert(std::is_trivially_copyable_v<Operation> && std::is_trivially_copyable_v<Operation::Options>, "moved by grow()");
  const std::size_t bytes = key.size() + value.size();
  if (!grow(operations_, capacity_, count_, count_ + 1) || !grow(bytes_, bytes_capacity_, used_, used_ + bytes)) {
    out_of_memory_ = true;
    return nullptr;
  }
  Operation* op = new (operations_ + count_++) Operation{};
  op->key_at = used_;
  op->key_size = key.size();
  op->value_size = value.size();
  op->place = place_;
  if (!key.empty()) std::memcpy(bytes_ + used_, key.data(), key.size());
  if (!value.empty()) std::memcpy(bytes_ + used_ + key.size(), value.data(), value.size());
  used_ += bytes;
  return op;
}

WriteBatch& WriteBatch::in(const detail::Context& context) noexcept {
  constexpr std::uint64_t kClosed = ~std::uint64_t{0};  // no store's
  place_ = {context.core != nullptr ? context.core->id : kClosed, detail::rules_of(context)};
  has_places_ = true;
  return *this;
}
WriteBatch& WriteBatch::in(const Namespace& ns) noexcept { return in(ns.context()); }
WriteBatch& WriteBatch::in(const Store& store) noexcept { return in(store.context()); }

void WriteBatch::set(std::string_view key, std::string_view value) noexcept {
  if (Operation* op = add(key, value)) op->kind = detail::BatchOperation::Kind::kSet;
}
void WriteBatch::set(std::string_view key, std::string_view value, const SetOptions& options) noexcept {
  Operation* op = add(key, value);
  if (op == nullptr) return;
  op->kind = detail::BatchOperation::Kind::kSet;
  Operation::Options own{.of = options};
  own.of.tags = {};
  own.of.metadata = {};
  detail::TagBlock tags;
  std::string_view block;
  if (options.keep_metadata && !options.metadata.empty()) {
    own.refused = {Status::kInvalidArgument, Field::kMetadata};
  } else if (!options.tags.empty() || options.lease != 0 || !options.metadata.empty()) {
    own.refused = detail::fill(tags, options);
    if (own.refused.status == Status::kOk) block = tags.block();
  }
  if (!grow(bytes_, bytes_capacity_, used_, used_ + sizeof own + block.size())) {
    out_of_memory_ = true;
    return;
  }
  own.tags_at = used_ + sizeof own;
  own.tags_size = block.size();
  op->has_options = has_options_ = true;
  op->options_at = used_;
  std::memcpy(bytes_ + used_, static_cast<const void*>(&own), sizeof own);
  if (!block.empty()) std::memcpy(bytes_ + own.tags_at, block.data(), block.size());
  used_ = own.tags_at + block.size();
}
void WriteBatch::del(std::string_view key) noexcept {
  if (Operation* op = add(key, {})) op->kind = detail::BatchOperation::Kind::kDel;
}
void WriteBatch::require_absent(std::string_view key) noexcept {
  Operation* op = add(key, {});
  if (op == nullptr) return;
  op->kind = detail::BatchOperation::Kind::kRequire;
  has_conditions_ = true;
  op->require = detail::BatchCondition::Kind::kAbsent;
}
void WriteBatch::require_present(std::string_view key) noexcept {
  Operation* op = add(key, {});
  if (op == nullptr) return;
  op->kind = detail::BatchOperation::Kind::kRequire;
  has_conditions_ = true;
  op->require = detail::BatchCondition::Kind::kPresent;
}
void WriteBatch::require_version(std::string_view key, std::uint64_t version) noexcept {
  Operation* op = add(key, {});
  if (op == nullptr) return;
  op->kind = detail::BatchOperation::Kind::kRequire;
  has_conditions_ = true;
  op->require = detail::BatchCondition::Kind::kVersion;
  op->version = version;
}
void WriteBatch::require_value(std::string_view key, std::string_view value) noexcept {
  Operation* op = add(key, value);
  if (op == nullptr) return;
  op->kind = detail::BatchOperation::Kind::kRequire;
  has_conditions_ = true;
  op->require = detail::BatchCondition::Kind::kValue;
}

void WriteBatch::require_fence(const Fence& fence) noexcept {
  Operation* op = add(fence.lock, {});
  if (op == nullptr) return;
  op->kind = detail::BatchOperation::Kind::kRequire;
  has_conditions_ = true;
  op->require = detail::BatchCondition::Kind::kVersion;
  op->version = fence.token;
  op->is_fence = true;
  op->fence_of = fence.ns;
  has_fences_ = true;
}

std::uint64_t WriteBatch::version(std::size_t index) const noexcept {
  if (index >= count_ || operations_[index].kind != detail::BatchOperation::Kind::kSet) return 0;
  return operations_[index].version;
}

namespace detail {

// What BatchWriter reads: conditions first, then a batch. Of the conditions all, or one, turned round.
class BatchList {
 public:
  // A list and its keys where they aren't stored as they are (stored_key.h), which store() fills in.
  template <class Batch>
  struct Keyed {
    Batch& list;
    StoredKeys keys{};
  };
  // False: no memory.
  template <class Batch>
  static bool store(const Context& c, Keyed<Batch>& batch) noexcept {
    const auto at = [&](std::size_t i) {
      return batch.list.operations_[i].key(batch.list.bytes_);
    };
    if (batch.list.has_places_ || batch.list.has_fences_) {
      return batch.keys.assign_each(batch.list.count_, [&](std::size_t i) {
        const WriteBatch::Operation& op = batch.list.operations_[i];
        // Another store's rules may be gone; check() refuses them.
        const NameRules* const rules = op.place.store_id == 0 || op.place.store_id != c.core->id ? rules_of(c) : op.place.rules;
        const unsigned name = rules != nullptr ? rules->number : kDefaultName;
        if (op.is_fence) return StoredKeys::Own{at(i), nullptr, kLocksName + std::min(op.fence_of ? *op.fence_of : name, kNamesMax)};
        return StoredKeys::Own{at(i), rules, name};
      });
    }
    return !StoredKeys::are_needed(c, batch.list.count_, at) || batch.keys.assign(c, batch.list.count_, at);
  }

  using Conditions = Keyed<const WriteBatch>;
  using Operations = Keyed<WriteBatch>;
  BatchList(const Call& call, Operations& batch) noexcept
      : call_(call), is_mixed_(!batch.keys.keys().empty()), batch_(batch.list), keys_(batch.keys.keys()) {}
  BatchList(const Call& call, const Conditions& conditions, Operations& batch) noexcept
      : call_(call), conditions_(&conditions.list), front_(static_cast<std::uint32_t>(conditions.list.size())),
        batch_(batch.list), keys_(batch.keys.keys()), front_keys_(conditions.keys.keys()) {}
  // The condition number `negated` is not to hold; the others don't matter.
  BatchList(const Call& call, const Conditions& conditions, std::uint32_t negated, Operations& batch) noexcept
      : call_(call), conditions_(&conditions.list), front_(1), first_(negated), negated_(true), batch_(batch.list),
        keys_(batch.keys.keys()), front_keys_(conditions.keys.keys()) {}

  std::uint32_t count() const noexcept { return front_ + static_cast<std::uint32_t>(batch_.count_); }
  std::uint32_t front() const noexcept { return front_; }
  [[gnu::always_inline]] std::string_view key(std::uint32_t i) const noexcept {
    if (!is_mixed_) [[likely]] return batch_.operations_[i].key(batch_.bytes_);
    return key_of_either(i);
  }
  [[gnu::noinline]] std::string_view key_of_either(std::uint32_t i) const noexcept {
    const auto keys = i < front_ ? front_keys_ : keys_;
    if (!keys.empty()) [[unlikely]] return keys[i < front_ ? first_ + i : i - front_];
    const auto& [list, op] = at(i);
    return op.key(list.bytes_);
  }
  bool all_plain() const noexcept { return front_ == 0 && !batch_.has_options_ && !batch_.has_conditions_; }
  bool plain(std::uint32_t i) const noexcept {
    const WriteBatch::Operation& op = at(i).op;
    return op.kind != BatchOperation::Kind::kRequire && !op.has_options;
  }
  void read_plain(std::uint32_t i, BatchOperation::Kind& kind, std::string_view& value) const noexcept {
    const auto& [list, op] = at(i);
    kind = op.kind;
    value = op.value(list.bytes_);
  }
  void read(std::uint32_t i, BatchOperation& out) const noexcept {
    const auto& [list, op] = at(i);
    out.kind = op.kind;
    out.require = op.require;
    out.negated = negated_ && i < front_;
    out.version = op.version;
    out.value = op.value(list.bytes_);
    if (op.kind != BatchOperation::Kind::kSet) return;
    out.terms = SetTerms{};
    if (!op.has_options) return;
    const WriteBatch::Operation::Options options = op.options(list.bytes_);
    TagBlock none;
    (void)make_terms(call_, options.of, out.terms, none);
    out.terms.tags = {list.bytes_ + options.tags_at, options.tags_size};
    out.terms.block = nullptr;
  }
  void tell(std::uint32_t i, std::uint64_t version) noexcept {
    if (i >= front_) batch_.operations_[i - front_].version = version;
  }

  // What is wrong with the list; the batch says where. Nobody has seen anything of it.
  Error check(std::size_t count_max) noexcept {
    batch_.failed_ = batch_.count_;
    if (batch_.out_of_memory_ || (conditions_ != nullptr && conditions_->out_of_memory_)) return {Status::kOutOfMemory, Field::kNone};
    if (batch_.count_ > count_max || count() > count_max) return {Status::kTooLarge, Field::kBatch};
    if (conditions_ != nullptr) {
      for (std::uint32_t i = 0; i != front_; ++i) {
        if (at(i).op.kind != BatchOperation::Kind::kRequire) return {Status::kInvalidArgument, Field::kConditions};
        if (const Error e = check_key(i); e.status != Status::kOk) return e;
      }
    }
    for (std::size_t i = 0; i != batch_.count_; ++i) {
      if (const Error e = check(static_cast<std::uint32_t>(i)); e.status != Status::kOk) {
        batch_.failed_ = i;
        return e;
      }
    }
    return {};
  }
  // It was written: what it has attached to leases that have ended since.
  void sweep_what_is_late() const noexcept {
    if (!batch_.has_options_) return;
    for (std::size_t i = 0; i != batch_.count_; ++i) {
      const WriteBatch::Operation& op = batch_.operations_[i];
      if (!op.has_options) continue;
      if (const LeaseId lease = op.options(batch_.bytes_).of.lease; lease != 0) swept_if_late(call_, lease);
    }
  }
  void failed_at(std::uint32_t operation) noexcept { batch_.failed_ = operation - front_; }

 private:
  struct At {
    const WriteBatch& list;
    const WriteBatch::Operation& op;
  };
  At at(std::uint32_t i) const noexcept {
    if (i < front_) return {*conditions_, conditions_->operations_[first_ + i]};
    return {batch_, batch_.operations_[i - front_]};
  }
  bool is_here(const WriteBatch::Operation& op) const noexcept {
    return op.place.store_id == 0 || op.place.store_id == call_.store().id;
  }
  Error check_key(std::uint32_t i) const noexcept {
    const auto& [list, op] = at(i);
    if (!is_here(op)) return {Status::kInvalidArgument, Field::kName};
    const bool is_lock = !op.is_fence || (op.key_size - 1 < kLockNameBytesMax && op.fence_of.value_or(0) <= kNamesMax);
    return is_lock ? Call::key_error(key(i)) : Error{Status::kInvalidArgument, Field::kFence};
  }
  Error check(std::uint32_t i) noexcept {
    WriteBatch::Operation& op = batch_.operations_[i];
    if (const Error e = check_key(front_ + i); e.status != Status::kOk) return e;
    if (op.kind != BatchOperation::Kind::kSet) return {};
    op.version = 0;
    if (op.value_size > call_.store().value_bytes_max) return {Status::kTooLarge, Field::kValue};
    if (!op.has_options) return {};
    const WriteBatch::Operation::Options options = op.options(batch_.bytes_);
    if (options.of.return_previous != nullptr) return {Status::kInvalidArgument, Field::kReturnPrevious};
    if (options.refused.status != Status::kOk) return options.refused;
    SetTerms terms;
    TagBlock none;
    return make_terms(call_, options.of, terms, none);
  }

  const Call& call_;
  const WriteBatch* conditions_ = nullptr;
  std::uint32_t front_ = 0;
  std::uint32_t first_ = 0;
  bool negated_ = false;
  bool is_mixed_ = true;  // keys aren't all the batch's own
  WriteBatch& batch_;
  std::span<const std::string_view> keys_{};  // instead of the list's own; empty: those
  std::span<const std::string_view> front_keys_{};
};

namespace {

using Writer = BatchWriter<StdSync, BatchList>;

Writer::Answer run(const Call& call, BatchList& list) noexcept {
  if (list.count() == 0) return {};
  return Writer(call.core(), call.thread(), list).write();
}

}  // namespace

Result<void> write(Context c, WriteBatch& batch) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  BatchList::Operations operations{batch};
  if (!BatchList::store(c, operations)) return Status::kOutOfMemory;
  BatchList list(call, operations);
  if (const Error e = list.check(call.store().batch_max); e.status != Status::kOk) return e;
  const Writer::Answer answer = run(call, list);
  if (answer.what == Writer::Answer::kDone) {
    list.sweep_what_is_late();
    return {};
  }
  if (answer.what == Writer::Answer::kOutOfMemory) return Status::kOutOfMemory;
  list.failed_at(answer.operation);
  return Status::kConflict;
}

Result<bool> transact(Context c, const WriteBatch& conditions, WriteBatch& then, WriteBatch& otherwise) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  BatchList::Conditions when{conditions};
  BatchList::Operations if_so{then}, if_not{otherwise};
  if (!BatchList::store(c, when) || !BatchList::store(c, if_so) || !BatchList::store(c, if_not)) return Status::kOutOfMemory;
  BatchList yes(call, when, if_so);
  if (const Error e = yes.check(call.store().batch_max); e.status != Status::kOk) return e;
  BatchList no_any(call, when, 0, if_not);
  if (!conditions.empty()) {
    if (const Error e = no_any.check(call.store().batch_max); e.status != Status::kOk) return e;
  }
  // Each turn in vain means that a condition has changed its mind, by others' writes.
  for (unsigned turn = 0; turn != kTransactTurns; ++turn) {
    const Writer::Answer answer = run(call, yes);
    if (answer.what == Writer::Answer::kDone) {
      yes.sweep_what_is_late();
      return true;
    }
    if (answer.what == Writer::Answer::kOutOfMemory) return Status::kOutOfMemory;
    if (answer.operation >= yes.front()) {
      yes.failed_at(answer.operation);
      return Status::kConflict;
    }
    BatchList no(call, when, answer.operation, if_not);
    const Writer::Answer other = run(call, no);
    if (other.what == Writer::Answer::kDone) {
      no.sweep_what_is_late();
      return false;
    }
    if (other.what == Writer::Answer::kOutOfMemory) return Status::kOutOfMemory;
    if (other.operation >= no.front()) {
      no.failed_at(other.operation);
      return Status::kConflict;
    }
  }
  return Status::kConflict;
}

}  // namespace detail
}  // namespace tern
