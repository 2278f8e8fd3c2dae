// The operations on keys: one set of calls, shared by Store and Session.
//
// Common to all of them: thread-safe, lock-free (a thread stopped anywhere delays nobody; see engine/README.md for
// what it does hold back), noexcept. Keys are 1 to 65,527 bytes, any bytes; invalid_key, too_large otherwise. Every
// change of a key is atomic and linearizable. A call on a closed store answers `closed`. Writes may answer
// out_of_memory, and then nothing was changed. "Live" means: present and not past its deadline.
#ifndef TERN_OPERATIONS_H_
#define TERN_OPERATIONS_H_

#include <tern/batch.h>
#include <tern/function_ref.h>
#include <tern/options.h>
#include <tern/result.h>
#include <tern/value.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace tern {

inline constexpr std::size_t kKeyBytesMax = 65'527;
inline constexpr std::size_t kKeysPerCallMax = 65'536;
inline constexpr std::size_t kKeysAtOneMomentMax = 4'096;

class Token;
namespace detail {
struct Context;
TERN_API Token prefetch(Context, std::string_view key) noexcept;
}  // namespace detail

// A key that was hashed and whose lines are on their way into the cache; see prefetch(). Refers to the key's bytes.
class Token {
 public:
  Token() = default;
  constexpr std::string_view key() const noexcept { return key_; }
  constexpr std::uint64_t hash() const noexcept { return hash_; }

 private:
  friend Token detail::prefetch(detail::Context, std::string_view key) noexcept;
  std::string_view key_{};
  std::uint64_t hash_ = 0;
};

// One write of set_many. Refers to the bytes.
struct Item {
  std::string_view key{};
  std::string_view value{};
  std::optional<std::chrono::milliseconds> ttl{};
};

// What a function given to update() wants: keep, replace or remove. The bytes of a replacement must live until the
// function is called again or update() returns.
class Update {
 public:
  static Update keep() noexcept { return Update(Kind::kKeep, {}); }
  static Update replace(std::string_view value) noexcept { return Update(Kind::kReplace, value); }
  static Update remove() noexcept { return Update(Kind::kRemove, {}); }

  enum class Kind : std::uint8_t { kKeep, kReplace, kRemove };
  Kind kind() const noexcept { return kind_; }
  std::string_view value() const noexcept { return value_; }

 private:
  Update(Kind kind, std::string_view value) noexcept : value_(value), kind_(kind) {}
  std::string_view value_;
  Kind kind_;
};

// What a loader given to get_or_load() brings.
struct Loaded {
  Status status = Status::kNotFound;               // ok: `value` counts; not_found: no such thing; else: the error
  Value value{};
  std::optional<std::chrono::milliseconds> ttl{};    // instead of LoadOptions::ttl
};

struct LoadOptions {
  std::optional<std::chrono::milliseconds> ttl{};           // lifetime of what was loaded
  std::optional<std::chrono::milliseconds> negative_ttl{};  // remember a not_found for so long; none: don't
  // Each lifetime is shortened by a random share of up to this many per cent, so that what was loaded together
  // doesn't expire together. 0 to 50.
  unsigned jitter_percent = 0;
  // After the deadline the stale value stays for so long, and is given to everybody but the one who loads anew.
  std::chrono::milliseconds stale{0};
};

// What a clear, del_prefix or del_tag has removed so far.
struct Invalidated {
  std::uint64_t entries = 0;
  bool done = false;  // nothing more will be found
};

namespace detail {

class StoreCore;
struct ThreadState;

struct Context {
  StoreCore* core = nullptr;
  ThreadState* thread = nullptr;  // null: the calling thread's own is looked up
};

// Memory of the store that is being filled for a later publish.
struct DraftState {
  Context context;
  std::uint64_t record = 0;
  char* data = nullptr;
  std::size_t size = 0;
  std::size_t key_size = 0;
};

using VisitFn = FunctionRef<void(std::string_view)>;
using VisitManyFn = FunctionRef<void(std::size_t, Lookup<std::string_view>)>;
using UpdateFn = FunctionRef<Update(std::optional<std::string_view>)>;
using LoadFn = FunctionRef<Loaded(std::string_view)>;

TERN_API Lookup<std::size_t> get(Context, std::string_view key, char* out, std::size_t out_size) noexcept;
TERN_API Lookup<std::size_t> get(Context, const Token& token, char* out, std::size_t out_size) noexcept;
TERN_API Lookup<Value> get(Context, std::string_view key) noexcept;
TERN_API Lookup<Entry> get_entry(Context, std::string_view key) noexcept;
TERN_API Lookup<Value> get_metadata(Context, std::string_view key) noexcept;
TERN_API Lookup<HeldValue> hold(Context, std::string_view key) noexcept;
TERN_API Lookup<bool> visit(Context, std::string_view key, VisitFn fn) noexcept;
TERN_API Result<bool> exists(Context, std::string_view key) noexcept;
TERN_API Lookup<Value> get_or_load(Context, std::string_view key, LoadFn loader, const LoadOptions&) noexcept;

TERN_API Result<std::uint64_t> set(Context, std::string_view key, std::string_view value) noexcept;
TERN_API Result<std::uint64_t> set(Context, std::string_view key, std::string_view value, const SetOptions&) noexcept;
TERN_API Result<bool> del(Context, std::string_view key) noexcept;
TERN_API Lookup<Value> get_and_del(Context, std::string_view key) noexcept;
TERN_API Lookup<Value> get_and_set(Context, std::string_view key, std::string_view value) noexcept;
TERN_API Result<bool> compare_and_swap(Context, std::string_view key, std::string_view expected,
                                       std::string_view desired) noexcept;
TERN_API Result<bool> compare_and_swap_version(Context, std::string_view key, std::uint64_t expected,
                                               std::string_view desired) noexcept;
TERN_API Result<bool> compare_and_delete(Context, std::string_view key, std::string_view expected) noexcept;
TERN_API Result<std::int64_t> increment(Context, std::string_view key, std::int64_t delta, std::int64_t initial) noexcept;
TERN_API Result<double> increment_float(Context, std::string_view key, double delta, double initial) noexcept;
TERN_API Result<std::size_t> append(Context, std::string_view key, std::string_view bytes) noexcept;
TERN_API Result<Update::Kind> update(Context, std::string_view key, UpdateFn fn) noexcept;
TERN_API Result<bool> set_metadata(Context, std::string_view key, std::string_view metadata) noexcept;
TERN_API Result<bool> expire_at(Context, std::string_view key, std::chrono::milliseconds deadline) noexcept;
TERN_API Result<bool> expire(Context, std::string_view key, std::chrono::milliseconds ttl) noexcept;
TERN_API Result<bool> persist(Context, std::string_view key) noexcept;

TERN_API Result<DraftState> allocate(Context, std::string_view key, std::size_t size) noexcept;
TERN_API Result<std::uint64_t> publish(DraftState&, const SetOptions&) noexcept;
TERN_API void abandon(DraftState&) noexcept;

TERN_API Result<void> get_many(Context, std::span<const std::string_view> keys, Values& out, bool at_one_moment) noexcept;
TERN_API Result<void> get_many(Context, std::span<const std::string_view> keys, char* out, std::size_t stride,
                               std::span<Lookup<std::size_t>> answers) noexcept;
TERN_API Result<void> visit_many(Context, std::span<const std::string_view> keys, VisitManyFn fn) noexcept;
TERN_API Result<void> set_many(Context, std::span<const Item> items, std::span<Result<std::uint64_t>> answers) noexcept;
TERN_API Result<void> del_many(Context, std::span<const std::string_view> keys, std::span<Result<bool>> answers) noexcept;
TERN_API Result<void> write(Context, WriteBatch& batch) noexcept;
TERN_API Result<std::uint64_t> clear(Context) noexcept;
TERN_API Result<std::uint64_t> del_prefix(Context, std::string_view prefix) noexcept;
TERN_API Result<std::uint64_t> del_tag(Context, std::string_view tag) noexcept;
TERN_API Lookup<Invalidated> invalidated(Context, std::uint64_t id) noexcept;
TERN_API Result<bool> transact(Context, const WriteBatch& conditions, WriteBatch& then, WriteBatch& otherwise) noexcept;

}  // namespace detail

// The cache's own memory for a value that is yet to be published: fill bytes(), then publish(); destroyed without
// it, nothing happened. Belongs to the Store or Session that made it and must not outlive it. Movable.
class Draft {
 public:
  Draft() noexcept = default;
  Draft(Draft&& other) noexcept : state_(other.state_) { other.state_ = {}; }
  Draft& operator=(Draft&& other) noexcept {
    if (this != &other) {
      detail::abandon(state_);
      state_ = other.state_;
      other.state_ = {};
    }
    return *this;
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft() { detail::abandon(state_); }

  std::span<char> bytes() const noexcept { return {state_.data, state_.size}; }
  // As set(); on failure of a condition the draft is still there and may be published again.
  Result<std::uint64_t> publish(const SetOptions& options = {}) noexcept { return detail::publish(state_, options); }

 private:
  template <class>
  friend class Operations;
  explicit Draft(const detail::DraftState& state) noexcept : state_(state) {}
  detail::DraftState state_;
};

// Derived gives `detail::Context context() const noexcept`.
template <class Derived>
class Operations {
 public:
  // --- reads ---------------------------------------------------------------------------------------------------

  // The value, copied into an object of the caller's: allocates when it is longer than Value::kInlineBytes
  // (out_of_memory if that fails).
  Lookup<Value> get(std::string_view key) const noexcept { return detail::get(ctx(), key); }

  // Copies the value to `out` if it fits; if it doesn't, nothing is copied. Answers the value's full size either
  // way, so compare it with out.size(). The fastest read: no allocation, two cache misses cold.
  Lookup<std::size_t> get(std::string_view key, std::span<char> out) const noexcept {
    return detail::get(ctx(), key, out.data(), out.size());
  }
  Lookup<std::size_t> get(std::string_view key, std::span<std::byte> out) const noexcept {
    return detail::get(ctx(), key, reinterpret_cast<char*>(out.data()), out.size());
  }

  // Hashes the key and begins to fetch its lines; other work goes on meanwhile. Worth two thirds for callers that know
  // the next few keys but can't batch: prefetch about four ahead, as the record is asked for two calls after the bucket.
  // The key's bytes must live until the get.
  Token prefetch(std::string_view key) const noexcept { return detail::prefetch(ctx(), key); }
  Lookup<std::size_t> get(const Token& token, std::span<char> out) const noexcept {
    return detail::get(ctx(), token, out.data(), out.size());
  }

  // Value, version, remaining lifetime and metadata of one moment.
  Lookup<Entry> get_entry(std::string_view key) const noexcept { return detail::get_entry(ctx(), key); }

  // What the entry has beside its value (SetOptions::metadata), without the value; found and empty: nothing. A read as get is.
  Lookup<Value> get_metadata(std::string_view key) const noexcept { return detail::get_metadata(ctx(), key); }

  // Calls fn(std::string_view value) on the store's own bytes, which stay valid during the call. fn may call the
  // store; it must not throw. Found: whether it was called.
  template <class Fn>
  Lookup<bool> visit(std::string_view key, Fn&& fn) const noexcept {
    return detail::visit(ctx(), key, detail::VisitFn(fn));
  }

  // The store's own bytes, kept alive for as long as the answer lives. One atomic addition each way.
  Lookup<HeldValue> hold(std::string_view key) const noexcept { return detail::hold(ctx(), key); }

  Result<bool> exists(std::string_view key) const noexcept { return detail::exists(ctx(), key); }

  // What remains of the key's lifetime (>= 1 ms); found with no value: it has no deadline.
  Lookup<std::optional<std::chrono::milliseconds>> ttl(std::string_view key) const noexcept {
    Lookup<Entry> e = detail::get_entry(ctx(), key);
    if (!e) return e.error();
    return e->ttl;
  }

  // The value, or what loader(key) brings. One loader for a key at a time in this process: others wait for it, or
  // take the stale value. A loader may call the store, but not get_or_load of its own key. The loader's error is
  // handed on and nothing is stored. Not lock-free: this call waits for the loader by design.
  template <class Fn>
  Lookup<Value> get_or_load(std::string_view key, Fn&& loader, const LoadOptions& options = {}) const noexcept {
    return detail::get_or_load(ctx(), key, detail::LoadFn(loader), options);
  }

  // --- writes of one key ---------------------------------------------------------------------------------------

  // Inserts or replaces; clears lifetime, tags and metadata. Answers the key's new version.
  Result<std::uint64_t> set(std::string_view key, std::string_view value) const noexcept {
    return detail::set(ctx(), key, value);
  }
  // exists, not_found or mismatch when a condition fails: then the old value stays.
  Result<std::uint64_t> set(std::string_view key, std::string_view value, const SetOptions& options) const noexcept {
    return detail::set(ctx(), key, value, options);
  }
  // Sets only if the key is absent (or expired): whether it did.
  Result<bool> set_nx(std::string_view key, std::string_view value, SetOptions options = {}) const noexcept {
    options.if_absent = true;
    const Result<std::uint64_t> r = detail::set(ctx(), key, value, options);
    if (r.status() == Status::kExists) return false;
    if (!r) return r.error();
    return true;
  }
  // Whether a live entry was removed.
  Result<bool> del(std::string_view key) const noexcept { return detail::del(ctx(), key); }
  // Removes, and gives what was there.
  Lookup<Value> get_and_del(std::string_view key) const noexcept { return detail::get_and_del(ctx(), key); }
  // Replaces, and gives what was there; a miss: nothing was there, and the value was set all the same.
  Lookup<Value> get_and_set(std::string_view key, std::string_view value) const noexcept {
    return detail::get_and_set(ctx(), key, value);
  }

  // Replaces the value if it equals `expected`: whether it did. A missing key is false. Never fails without cause.
  // Keeps lifetime, tags and metadata.
  Result<bool> compare_and_swap(std::string_view key, std::string_view expected,
                                std::string_view desired) const noexcept {
    return detail::compare_and_swap(ctx(), key, expected, desired);
  }
  Result<bool> compare_and_swap_version(std::string_view key, std::uint64_t expected,
                                        std::string_view desired) const noexcept {
    return detail::compare_and_swap_version(ctx(), key, expected, desired);
  }
  Result<bool> compare_and_delete(std::string_view key, std::string_view expected) const noexcept {
    return detail::compare_and_delete(ctx(), key, expected);
  }

  // Adds to a decimal number kept as text and answers the sum; a missing key counts as `initial`. wrong_type if the
  // value is no number, out_of_range if the sum leaves the type: then nothing was changed. Keeps lifetime, tags and metadata.
  Result<std::int64_t> increment(std::string_view key, std::int64_t delta = 1, std::int64_t initial = 0) const noexcept {
    return detail::increment(ctx(), key, delta, initial);
  }
  // The same for floating point; writes the shortest text that reads back equal. NaN and infinity: out_of_range.
  Result<double> increment_float(std::string_view key, double delta, double initial = 0) const noexcept {
    return detail::increment_float(ctx(), key, delta, initial);
  }
  // Adds bytes at the end of the value, creates it if missing; answers the new size. too_large past the limit.
  // Keeps lifetime, tags and metadata.
  Result<std::size_t> append(std::string_view key, std::string_view bytes) const noexcept {
    return detail::append(ctx(), key, bytes);
  }
  // fn(std::optional<std::string_view> current) -> Update decides on the key's state, atomically for the key: it
  // is called again when another write came between, at most 64 times (then: conflict). It must not throw or write
  // its own key. Keeps lifetime, tags and metadata.
  template <class Fn>
  Result<Update::Kind> update(std::string_view key, Fn&& fn) const noexcept {
    return detail::update(ctx(), key, detail::UpdateFn(fn));
  }

  // Gives the entry other metadata (up to 4,096 bytes: else too_large (metadata); none: takes them away) and leaves it all else:
  // whether the key was live. The key's version grows, so a compare_and_swap_version of who has read it before fails; watches
  // are told a put of the same value (WatchOptions::on_change_only passes it over). Copies the value within the store.
  Result<bool> set_metadata(std::string_view key, std::string_view metadata) const noexcept {
    return detail::set_metadata(ctx(), key, metadata);
  }

  // Gives the key a deadline from now; <= 0 removes it now. Whether the key was live. No copy of the value when it
  // already has a deadline.
  Result<bool> expire(std::string_view key, std::chrono::milliseconds ttl) const noexcept {
    return detail::expire(ctx(), key, ttl);
  }
  // The same with an instant of the store's clock.
  Result<bool> expire_at(std::string_view key, std::chrono::milliseconds deadline) const noexcept {
    return detail::expire_at(ctx(), key, deadline);
  }
  // Takes the deadline away: whether there was one.
  Result<bool> persist(std::string_view key) const noexcept { return detail::persist(ctx(), key); }

  // `size` bytes of the store's own memory to be filled as the value of `key`: a write without a copy.
  Result<Draft> allocate(std::string_view key, std::size_t size) const noexcept {
    Result<detail::DraftState> r = detail::allocate(ctx(), key, size);
    if (!r) return r.error();
    return Result<Draft>(Draft(*r));
  }

  // --- many keys -----------------------------------------------------------------------------------------------
  // Groups of keys are hashed in SIMD lanes and their cache lines fetched together: several times the rate of single
  // calls. At most 65,536 keys a call (too_large); an answer for each key in the order asked; duplicates allowed; a
  // bad key fails alone. Each key is read or changed atomically, the keys together are not.

  Result<void> get_many(std::span<const std::string_view> keys, Values& out) const noexcept {
    return detail::get_many(ctx(), keys, out, false);
  }
  // All values current at one moment. At most 4,096 keys. conflict: the moment was given up to make room, or 64 others ask for one.
  Result<void> get_many_at_one_moment(std::span<const std::string_view> keys, Values& out) const noexcept {
    return detail::get_many(ctx(), keys, out, true);
  }
  // Value i goes to out + i * stride, as get(key, span) with `stride` bytes. answers.size() >= keys.size().
  Result<void> get_many(std::span<const std::string_view> keys, char* out, std::size_t stride,
                        std::span<Lookup<std::size_t>> answers) const noexcept {
    return detail::get_many(ctx(), keys, out, stride, answers);
  }
  // fn(std::size_t index, Lookup<std::string_view>) on the store's own bytes, in any order. fn may call the store.
  template <class Fn>
  Result<void> visit_many(std::span<const std::string_view> keys, Fn&& fn) const noexcept {
    return detail::visit_many(ctx(), keys, detail::VisitManyFn(fn));
  }
  // The same key twice in one call: both writes happen, in the order given.
  Result<void> set_many(std::span<const Item> items, std::span<Result<std::uint64_t>> answers) const noexcept {
    return detail::set_many(ctx(), items, answers);
  }
  Result<void> del_many(std::span<const std::string_view> keys, std::span<Result<bool>> answers) const noexcept {
    return detail::del_many(ctx(), keys, answers);
  }

  // --- many keys at one moment, by what they have in common ----------------------------------------------------
  // An invalidation: at one moment during the call every entry in its scope is gone, for every kind of read and write, and
  // for views opened afterwards; views opened before keep theirs. Nothing set after that moment is touched. The call does
  // not go over the entries: it takes a few microseconds, whatever the size of the store. Until they are swept (by tick or
  // the background thread, by each write a little, and before anything is evicted) the dead entries take their memory and
  // count in Stats::entries and against entries_max, reads take about half as long again, and on_removed is told of each
  // when it goes (RemovalCause::kCleared).
  //
  // Answers the id of the invalidation, for invalidated(); ids grow from one to the next. Up to 64 may be unswept at once:
  // the next call then sweeps first itself, O(entries); and if all that is left of them is what a view needs that was
  // opened while they were swept, ends the oldest view. out_of_memory if there is no room for some 100 bytes and the prefix.

  // Every entry.
  Result<std::uint64_t> clear() const noexcept { return detail::clear(ctx()); }
  // Every entry whose key begins with these bytes; an empty prefix: every entry. too_large past 65,527 bytes.
  Result<std::uint64_t> del_prefix(std::string_view prefix) const noexcept { return detail::del_prefix(ctx(), prefix); }
  // Every entry that has this tag (SetOptions::tags). A tag that no entry can have: invalid_argument (tags).
  Result<std::uint64_t> del_tag(std::string_view tag) const noexcept { return detail::del_tag(ctx(), tag); }
  // How many entries an invalidation has removed: known when they are swept. Of two whose scopes meet, the earlier one
  // counts what both have in theirs; what expires before it is swept counts as expired. A miss: it is no id, or not of the
  // last 256.
  Lookup<Invalidated> invalidated(std::uint64_t id) const noexcept { return detail::invalidated(ctx(), id); }

  // --- batches -------------------------------------------------------------------------------------------------

  // All operations of the batch at one moment, to single reads, to get_many_at_one_moment and to views; or none of them:
  // conflict if a condition is false (batch.failed() says which), out_of_memory, or an operation that can't be (failed()
  // too). The same key twice: the last set or del counts; conditions judge the state before the batch. At most
  // Options::max_batch operations (too_large). batch.version(i) has the new versions. Lifetimes are judged by one reading
  // of the clock when the call begins. With Options::entries_max the bound may be passed by as many entries as others
  // removed meanwhile; WhenFull::kDrop doesn't apply: out_of_memory. Removals need room too, some 40 bytes for each operation and a
  // record that says so: in a full store that evicts nothing thousands of them may find none, where one del has a reserve.
  // Strictly serialisable with every other call. Lock-free: a write that meets a batch under way finishes it, at the cost
  // of what is left of it; a read never does. Costs about twice a set for each operation.
  Result<void> write(WriteBatch& batch) const noexcept { return detail::write(ctx(), batch); }
  // Writes `then` if every condition holds, else `otherwise`: which of them; atomically with the conditions. `conditions`
  // has nothing but require_...; those inside `then` and `otherwise` are answered as in write(). conflict also if after
  // 16 turns others have changed what the conditions say each time between asking and writing.
  Result<bool> transact(const WriteBatch& conditions, WriteBatch& then, WriteBatch& otherwise) const noexcept {
    return detail::transact(ctx(), conditions, then, otherwise);
  }

 private:
  detail::Context ctx() const noexcept { return static_cast<const Derived*>(this)->context(); }
};

}  // namespace tern

#endif  // TERN_OPERATIONS_H_
