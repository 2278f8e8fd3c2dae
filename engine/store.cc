// The handles: opening, threads, closing, and what outlives it.
#include <tern/store.h>

#include <bit>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#include "alloc/platform.h"
#include "alloc/platform_processors.h"
#include "alloc/private_memory.h"
#include "engine/reads.h"
#include "engine/store_core.h"
#include "engine/writes.h"
#include "engine/stored_key.h"
#include "engine/views.h"
#include "engine/workers.h"

namespace tern {
namespace detail {

thread_local constinit ThreadCache thread_cache{};

namespace {

// The process's live stores. Off every path of a read or a write; see store_core.h.
struct LiveStores {
  std::mutex mutex;
  StoreCore* first = nullptr;
  std::uint64_t last_id = 0;
};

LiveStores& live_stores() noexcept {
  static LiveStores* const stores = [] {
    void* memory = alloc::private_allocate(sizeof(LiveStores));
    if (memory == nullptr) return static_cast<LiveStores*>(nullptr);
    auto* s = new (memory) LiveStores;  // never destroyed: threads may end after static destructors have run
    alloc::platform::at_fork([] { live_stores().mutex.lock(); }, [] { live_stores().mutex.unlock(); },
                             [] {
                               for (StoreCore* c = live_stores().first; c != nullptr; c = c->next_live) c->leave_to_parent();
                               live_stores().mutex.unlock();
                             });
    return s;
  }();
  return *stores;
}

// What this thread has registered with, to give it back when the thread ends.
struct Registration {
  std::uint64_t store_id;
  Thread<StdSync>* state;
  Registration* next;
};

struct Registrations {
  Registration* first = nullptr;
  unsigned next_cache_entry = 0;

  ~Registrations() {
    LiveStores& live = live_stores();
    const std::lock_guard<std::mutex> lock(live.mutex);
    for (Registration* r = first; r != nullptr;) {
      for (StoreCore* c = live.first; c != nullptr; c = c->next_live) {
        if (c->id == r->store_id && !c->is_parents()) c->core.release_thread(*r->state);
      }
      Registration* next = r->next;
      alloc::private_free(r);
      r = next;
    }
    first = nullptr;
    thread_cache = {};
  }
};

thread_local Registrations registrations;

std::uint64_t system_now_ms(const void*) noexcept { return alloc::platform::monotonic_ns() / 1'000'000; }
std::uint64_t injected_now_ms(const void* clock) noexcept {
  const auto ms = static_cast<const Clock*>(clock)->now().count();
  return ms < 0 ? 0 : static_cast<std::uint64_t>(ms);
}

constexpr std::size_t kMemoryBytesMin = std::size_t{4} << 20;
constexpr std::size_t kMemoryBytesMax = std::size_t{8} << 40;
constexpr std::uint64_t kValueBytesLimit = (std::uint64_t{1} << 32) - (64 << 10);
constexpr unsigned kShardsMax = 1024;
constexpr unsigned kRingsAProcessor = 8;  // of changes; so many that two writers are seldom at one

struct Plan {
  CoreOptions core;
  std::size_t shrink_floor_bytes = 0;  // 0: the budget stays
  std::size_t value_bytes_max = 0;
  std::size_t held_bytes_max = 0;
  std::size_t batch_max = 0;
};

Error make_plan(const Options& o, Plan& plan) noexcept {
  CoreOptions& c = plan.core;
  c.memory_bytes = o.memory_bytes;
  if (o.memory != nullptr || o.memory_size != 0) {
    if (o.memory == nullptr || o.memory_size < kMemoryBytesMin) return {Status::kInvalidArgument, Field::kMemory};
    if (o.memory_bytes_max != 0) return {Status::kInvalidArgument, Field::kMemoryBytesMax};
    // What alignment and accounts take is the heap's to find; the region's whole granules are the budget.
    const std::size_t granule = std::size_t{64} << 10;
    const auto at = reinterpret_cast<std::uintptr_t>(o.memory);
    const std::size_t skipped = (granule - at % granule) % granule;
    c.region = static_cast<char*>(o.memory) + skipped;
    c.region_bytes = (o.memory_size - skipped) / granule * granule;
    c.memory_bytes = c.region_bytes - c.region_bytes / 8;  // an eighth is the table's addresses
    if (c.memory_bytes < kMemoryBytesMin) return {Status::kInvalidArgument, Field::kMemory};
  }
  if (c.memory_bytes < kMemoryBytesMin || c.memory_bytes > kMemoryBytesMax) {
    return {Status::kOutOfRange, Field::kMemoryBytes};
  }
  if (o.memory_bytes_max != 0 && (o.memory_bytes_max < o.memory_bytes || o.memory_bytes_max > kMemoryBytesMax)) {
    return {Status::kOutOfRange, Field::kMemoryBytesMax};
  }
  c.memory_bytes_max = o.memory_bytes_max;
  if (o.shard_count > kShardsMax) return {Status::kOutOfRange, Field::kShardCount};
  if (o.shard_count != 0 && !std::has_single_bit(o.shard_count)) return {Status::kInvalidArgument, Field::kShardCount};
  // A shard's first chunk takes 4 KiB or more: the shards together at most a sixteenth of the budget.
  const std::size_t shards_that_fit = c.memory_bytes / (std::size_t{64} << 10);
  if (o.shard_count > shards_that_fit) return {Status::kOutOfRange, Field::kShardCount};
  c.shard_count = o.shard_count;
  if (c.shard_count == 0) {
    std::size_t wanted = std::bit_floor(c.memory_bytes / kMemoryBytesMin);
    if (wanted > 256) wanted = 256;
    c.shard_count = static_cast<unsigned>(wanted);
  }
  c.entries_max = o.entries_max;
  if (o.weigher != nullptr && o.entries_max == 0) return {Status::kInvalidArgument, Field::kWeigher};
  c.weigher = o.weigher;
  c.weigher_user = o.weigher_user;
  c.eviction = o.eviction;
  if (o.size_aware && !o.eviction) return {Status::kInvalidArgument, Field::kSizeAware};
  c.size_aware = o.size_aware;
  c.ordered = o.ordered;
  if (o.full != WhenFull::kError && o.full != WhenFull::kDrop) return {Status::kInvalidArgument, Field::kFull};
  if (o.maintenance != Maintenance::kBackground && o.maintenance != Maintenance::kTick) {
    return {Status::kInvalidArgument, Field::kMaintenance};
  }
  if (o.scan_threads == 0 || o.scan_threads > kWorkersMax) return {Status::kOutOfRange, Field::kScanThreads};
  if (o.scan_threads > 1 && !can_share_work()) return {Status::kUnsupported, Field::kScanThreads};
  c.removal_hook = {o.on_removed, o.on_removed_user};
  if (o.entries_expected != 0) {
    const std::uint64_t buckets = Growth<StdSync>::buckets_for(o.entries_expected / c.shard_count);
    if (buckets > c.memory_bytes / c.shard_count / 4 / 64) return {Status::kOutOfRange, Field::kEntriesExpected};
    if (buckets > kFirstBuckets) c.first_buckets = static_cast<std::uint32_t>(buckets);
  }
  c.align_records = o.align_records;
  c.huge_pages = o.huge_pages;
  c.prefault = o.prefault;
  if (o.name.size() > 63) return {Status::kInvalidArgument, Field::kName};
  if (o.value_bytes_max > kValueBytesLimit) return {Status::kOutOfRange, Field::kValueBytesMax};
  if (o.held_bytes_max > kMemoryBytesMax) return {Status::kOutOfRange, Field::kHeldBytesMax};
  if (o.view_bytes_max > kMemoryBytesMax) return {Status::kOutOfRange, Field::kViewBytesMax};
  c.view_bytes = o.view_bytes_max != 0 ? o.view_bytes_max : c.memory_bytes / 8;
  // An eighth for the cells, so that an event may keep 56 bytes beside its cell on the average: most records in a ring are
  // current, and cost it nothing.
  const std::size_t ring_bytes = o.ring_bytes != 0 ? o.ring_bytes : c.memory_bytes / 64;
  if (o.ring_bytes != 0 && (o.ring_bytes < std::size_t{128} * c.shard_count || o.ring_bytes > c.memory_bytes / 4)) {
    return {Status::kOutOfRange, Field::kRingBytes};
  }
  c.ring_count = std::min(c.shard_count, std::bit_ceil(kRingsAProcessor * alloc::platform::online_processors()));
  c.ring_cells = std::bit_floor(std::max<std::size_t>(ring_bytes / 8 / 8 / c.ring_count, EventRing<StdSync>::kCellsMin));
  c.ring_bytes = ring_bytes - ring_bytes / 8;
  // Half of what is left beside the table's first rows, the reserve and the accounts.
  const std::size_t usable_half = (c.memory_bytes - c.memory_bytes / 8) / 2;
  if (o.value_bytes_max > usable_half) return {Status::kOutOfRange, Field::kValueBytesMax};
  if (o.max_batch == 0 || o.max_batch > kBatchMax) return {Status::kOutOfRange, Field::kMaxBatch};
  plan.batch_max = o.max_batch;
  plan.value_bytes_max = o.value_bytes_max;
  if (plan.value_bytes_max == 0) plan.value_bytes_max = std::min<std::size_t>(std::size_t{64} << 20, usable_half);
  plan.held_bytes_max = o.held_bytes_max != 0 ? o.held_bytes_max : c.memory_bytes / 8;
  if (o.shrink_on_pressure) {
    if (c.region != nullptr) return {Status::kInvalidArgument, Field::kShrinkOnPressure};
    plan.shrink_floor_bytes =
        o.shrink_floor_bytes != 0 ? o.shrink_floor_bytes : std::max(c.memory_bytes / 4, kMemoryBytesMin);
    if (plan.shrink_floor_bytes < kMemoryBytesMin || plan.shrink_floor_bytes > c.memory_bytes) {
      return {Status::kOutOfRange, Field::kShrinkFloorBytes};
    }
  }
  if (o.hash_seed) {
    c.seed = *o.hash_seed;
  } else if (!alloc::platform::random_bytes(&c.seed, sizeof c.seed)) {
    return {Status::kIo, Field::kNone};
  }
  c.time = o.clock != nullptr ? Time{injected_now_ms, o.clock} : Time{system_now_ms, nullptr};
  return {};
}

}  // namespace

Result<StoreCore*> StoreCore::open(const Options& options, FirstTable table, Backing* backing) noexcept {
  [[maybe_unused]] static const bool chosen = (choose_reads(best_reads()), choose_writes(best_reads()), true);
  Plan plan;
  if (const Error e = make_plan(options, plan); e.status != Status::kOk) return e;
  const std::uint32_t buckets_expected = plan.core.first_buckets;
  if (table == FirstTable::kSmall) plan.core.first_buckets = kFirstBuckets;
  if (backing != nullptr) {
    if (options.memory != nullptr) return Error{Status::kInvalidArgument, Field::kMemory};
    plan.core.roots = backing->roots(plan.core.shard_count);
    if (plan.core.roots == nullptr) return Status::kOutOfMemory;
    plan.core.file = backing->file();
    plan.core.file_at = backing->heap_at();
  }
  void* memory = alloc::private_allocate_aligned(sizeof(StoreCore), alignof(StoreCore));
  if (memory == nullptr) return Status::kOutOfMemory;
  auto* store = new (memory) StoreCore;
  store->log_ = options.log;
  store->log_user_ = options.log_user;
  store->core.space.log = {options.log, options.log_user};
  auto& events = store->core.space.events;
  events.wake = [](void* user) noexcept { static_cast<StoreCore*>(user)->bus.ring(); };
  events.held_bytes = [](void* user) noexcept { return static_cast<StoreCore*>(user)->held_bytes(); };
  events.user = store;
  if (!alloc::platform::random_bytes(&store->incarnation_, sizeof store->incarnation_)) store->incarnation_ = plan.core.seed;
  const alloc::Error opened = store->core.open(plan.core);
  if (opened != alloc::Error::kNone) {
    store->~StoreCore();
    alloc::private_free(memory);
    if (opened == alloc::Error::kOutOfMemory) return Status::kOutOfMemory;
    return Error{Status::kInvalidArgument, options.memory != nullptr ? Field::kMemory : Field::kMemoryBytes};
  }
  store->backing = backing;
  if (plan.shrink_floor_bytes != 0) store->watch_memory(options, plan.shrink_floor_bytes);
  store->buckets_expected = buckets_expected;
  store->value_bytes_max = plan.value_bytes_max;
  auto& below = store->core.space.short_values_below;
  below = std::min<std::uint64_t>(below, plan.value_bytes_max + 1);
  store->held_bytes_max = plan.held_bytes_max;
  store->batch_max = plan.batch_max;
  store->full = options.full;
  store->scan_threads = options.scan_threads;
  if (!options.name.empty()) std::memcpy(store->name, options.name.data(), options.name.size());
  if (options.huge_pages && backing == nullptr) {
    const alloc::Stats s = store->core.space.heap.stats();
    if (s.huge_asked_bytes != 0 && s.huge_granted_bytes == 0) store->log("huge pages were refused: small pages are used");
  }
  {
    LiveStores& live = live_stores();
    const std::lock_guard<std::mutex> lock(live.mutex);
    store->id = ++live.last_id;
    store->next_live = live.first;
    if (live.first != nullptr) live.first->previous_live = store;
    live.first = store;
  }
  if (options.maintenance == Maintenance::kBackground) {
    store->keeper.open();
    if (store->pressure.is_open()) {
      store->core.space.upkeep.ask();
      store->core.space.upkeep.pass_on();
    }
  }
  return store;
}

void StoreCore::destroy() noexcept {
  if (is_parents_) return;
  {
    LiveStores& live = live_stores();
    const std::lock_guard<std::mutex> lock(live.mutex);
    if (previous_live != nullptr) previous_live->next_live = next_live;
    if (next_live != nullptr) next_live->previous_live = previous_live;
    if (live.first == this) live.first = next_live;
  }
  Backing* const file = backing;
  this->~StoreCore();
  alloc::private_free(this);
  if (file == nullptr) return;
  file->~Backing();
  alloc::private_free(file);
}

// Others have their mutexes: only this thread is here. Of a store in a file a copy is left, for values that are held; what
// of it is freed goes nowhere, as the parent changes the pages that haven't been copied.
void StoreCore::leave_to_parent() noexcept {
  if (backing != nullptr) {
    core.space.heap.make_private();
    backing->in_forked_child();
    is_parents_ = true;
  }
  close();
}

void StoreCore::drop_handle() noexcept {
  if (handles_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;  // [handle] acq_rel
  close();
  // Before the list's mutex is taken: a thread that ends takes it.
  if (keeper.stop()) let_go();
}

void StoreCore::close() noexcept {
  Mode now = mode_.load(std::memory_order_relaxed);  // the swap decides
  // Between two instructions of the thread that completes it; bounded, since in a forked child that thread is not there.
  for (unsigned turns = 0; now != Mode::kClosed;) {
    if (now == Mode::kComplete && ++turns < 1'000) {
      alloc::platform::yield_processor();
      now = mode_.load(std::memory_order_relaxed);  // as above
      continue;
    }
    if (mode_.compare_exchange_weak(now, Mode::kClosed, std::memory_order_seq_cst)) break;  // [close] seq_cst: as below
  }
  short_ways_open_.store(false, std::memory_order_seq_cst);  // [close] seq_cst: before who sleeps is woken
  if (core.space.events.place.load(std::memory_order_relaxed) != 0) bus.ring();  // somebody watches, or did
}

void StoreCore::complete() noexcept {
  Mode expected = Mode::kIncoming;
  if (!mode_.compare_exchange_strong(expected, Mode::kComplete, std::memory_order_acq_rel)) return;  // [close] release
  short_ways_open_.store(true, std::memory_order_release);  // [close] release
  mode_.store(Mode::kServing, std::memory_order_release);                                            // [close] release
  core.space.leases.incoming.store(0, std::memory_order_relaxed);  // a hint: who still sees it looks again
  sweep_what_came();
}

void StoreCore::sweep_what_came() noexcept {
  if (core.space.leases.came.load(std::memory_order_relaxed) != 0) Leases<Sync>::owe(core.space);  // by who has brought it
  learn_names();
}

void Call::begin_slowly(const Context& c) noexcept {
  if (core_ == nullptr || core_->is_closed()) return;
  Thread<StdSync>* const t = core_->thread(c);
  Incoming* const incoming = core_->incoming();
  if (t == nullptr) return;
  if (incoming != nullptr) incoming_error_ = incoming->bring_all(*t);
  if (incoming_error_.status == Status::kOk) thread_ = t;
}

void Call::begin_slowly(const Context& c, std::string_view key) noexcept {
  if (core_ == nullptr || core_->is_closed()) return;
  is_elsewhere_ = StoredKey::is_needed(c, key);
  if (is_elsewhere_ || key.size() - 1 >= (has_stored_key(c) ? kStoredKeyBytesMax : kKeyBytesMax)) return;
  Thread<StdSync>* const t = core_->thread(c);
  Incoming* const incoming = core_->incoming();
  if (t == nullptr) return;
  if (incoming != nullptr) incoming_error_ = incoming->bring(*t, core_->core.hash_of(key));
  // An entry may be attached to a lease that lies elsewhere in the file.
  const bool leased = incoming != nullptr && core_->core.space.leases.came.load(std::memory_order_relaxed) != 0;  // brought just now
  if (leased && incoming_error_.status == Status::kOk) incoming_error_ = incoming->bring_all(*t);
  if (incoming_error_.status == Status::kOk) thread_ = t;
}

void StoreCore::let_go() noexcept {
  if (is_parents_) return;
  if (Attachment* const a = periodic.exchange(nullptr, std::memory_order_acquire)) {  // [periodic] acquire
    a->~Attachment();
    alloc::private_free(a);
  }
  if (Attachment* const a = std::exchange(attachment, nullptr)) {
    a->~Attachment();
    alloc::private_free(a);
  }
  const std::uint64_t held = held_.fetch_or(kLastHandleGone, std::memory_order_acq_rel);  // [held] acq_rel
  if ((held & ~kLastHandleGone) == 0) destroy();
}

StoreCore::Thr* StoreCore::register_thread() noexcept {
  Registrations& mine = registrations;
  Thr* state = nullptr;
  for (Registration* r = mine.first; r != nullptr; r = r->next) {
    if (r->store_id == id) state = r->state;
  }
  if (state == nullptr) {
    auto* r = static_cast<Registration*>(alloc::private_allocate(sizeof(Registration)));
    if (r == nullptr) return nullptr;
    state = core.space.register_thread(alloc::platform::thread_id() + 1);
    if (state == nullptr) {
      alloc::private_free(r);
      return nullptr;
    }
    *r = {id, state, mine.first};
    mine.first = r;
  }
  const unsigned entry = mine.next_cache_entry++ % ThreadCache::kEntries;
  thread_cache.id[entry] = id;
  thread_cache.state[entry] = state;
  return state;
}

Result<std::uint64_t> StoreCore::refuse_or_drop(Thr& t, std::uint64_t hash, std::string_view key) noexcept {
  if (full == WhenFull::kError) return Status::kOutOfMemory;
  DropChange<Sync> change(core.space, t, key);
  if (core.write(t, hash, key, change, true).outcome == Committed::Outcome::kOutOfMemory) return Status::kOutOfMemory;
  t.counters.dropped.add();
  return std::uint64_t{0};
}

bool StoreCore::take_held(std::uint64_t bytes) noexcept {
  const std::uint64_t add = kHeldOne + (bytes + 7) / 8;
  std::uint64_t held = held_.load(std::memory_order_relaxed);  // the swap decides
  do {
    if (((held & kHeldBytes) + (bytes + 7) / 8) * 8 > held_bytes_max) return false;
    if ((held >> 40 & 0x7FFFFF) == 0x7FFFFF) return false;
  } while (!held_.compare_exchange_weak(held, held + add, std::memory_order_acq_rel));  // [held] acq_rel
  return true;
}

void StoreCore::drop_held(std::uint64_t bytes) noexcept {
  const std::uint64_t take = kHeldOne + (bytes + 7) / 8;
  const std::uint64_t held = held_.fetch_sub(take, std::memory_order_acq_rel) - take;  // [held] acq_rel
  if (held == kLastHandleGone) destroy();
}

}  // namespace detail

using detail::StoreCore;

Result<Store> Store::open(const Options& options) noexcept {
  const Result<StoreCore*> r = StoreCore::open(options);
  if (!r) return r.error();
  return Result<Store>(Store(*r));
}

Store::Store(const Store& other) noexcept : core_(other.core_) {
  if (core_ != nullptr) core_->add_handle();
}
Store& Store::operator=(const Store& other) noexcept {
  Store copy(other);
  std::swap(core_, copy.core_);
  return *this;
}
Store::Store(Store&& other) noexcept : Operations<Store>(), InOrder<Store>(), core_(std::exchange(other.core_, nullptr)) {}
Store& Store::operator=(Store&& other) noexcept {
  Store moved(std::move(other));
  std::swap(core_, moved.core_);
  return *this;
}
Store::~Store() {
  if (core_ != nullptr) core_->drop_handle();
}
void Store::close() noexcept {
  if (core_ != nullptr) core_->close();
}
bool Store::is_open() const noexcept { return core_ != nullptr && !core_->is_closed(); }

Result<Session> Store::session() const noexcept {
  const detail::Call call(context(), detail::Call::Keys::kNone);
  if (!call.ok()) return call.error();
  Session s;
  core_->add_handle();
  s.context_ = {core_, reinterpret_cast<detail::ThreadState*>(&call.thread())};
  return Result<Session>(std::move(s));
}

Result<View> Store::view() const noexcept { return open_view(context(), detail::ViewOwner::kUser); }
Result<View> Store::view_of_call(const detail::Context& c) noexcept { return open_view(c, detail::ViewOwner::kStore); }

Result<View> Store::open_view(const detail::Context& c, detail::ViewOwner owner) noexcept {
  const detail::Call call(c);
  if (!call.ok()) return call.error();
  const auto handle = detail::Views<detail::StdSync>(call.core()).open(owner);
  if (!handle.opened.ok()) return {Status::kTooLarge, Field::kViews};
  c.core->add_handle();
  View v;
  v.core_ = c.core;
  v.rules_ = detail::rules_of(c);
  v.index_ = handle.opened.index;
  v.stamp_ = handle.opened.stamp;
  v.now_ms_ = handle.now_ms;
  return Result<View>(std::move(v));
}

Session::Session(Session&& other) noexcept
    : Operations<Session>(), InOrder<Session>(), context_(std::exchange(other.context_, detail::Context{})) {}
Session& Session::operator=(Session&& other) noexcept {
  Session moved(std::move(other));
  std::swap(context_, moved.context_);
  return *this;
}
Session::~Session() {
  if (context_.core != nullptr) context_.core->drop_handle();
}

}  // namespace tern
