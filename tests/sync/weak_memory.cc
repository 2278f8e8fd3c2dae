#include "tests/sync/weak_memory.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

namespace tern::concurrency::weak {
namespace {

bool acquires(std::memory_order order) {
  return order == std::memory_order_acquire || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst || order == std::memory_order_consume;
}
bool releases(std::memory_order order) {
  return order == std::memory_order_release || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}

std::uint64_t raw_load(const void* address, unsigned size) {
  std::uint64_t word = 0;
  std::memcpy(&word, address, size);
  return word;
}
void raw_store(void* address, unsigned size, std::uint64_t word) {
  std::memcpy(address, &word, size);
}

// From an address to a small number, forgotten at once by a new generation.
class AddressIndex {
 public:
  AddressIndex() : entries_(1024) {}

  void clear() {
    ++generation_;
    used_ = 0;
  }
  // The number of `address`; `fresh` is the number it gets if it has none.
  std::uint32_t find_or_add(std::uintptr_t address, std::uint32_t fresh) {
    for (std::size_t i = slot(address);; i = (i + 1) & (entries_.size() - 1)) {
      Entry& e = entries_[i];
      if (e.generation != generation_) {
        if (2 * ++used_ > entries_.size()) {
          grow();
          return find_or_add(address, fresh);
        }
        e = {address, generation_, fresh};
        return fresh;
      }
      if (e.address == address) return e.number;
    }
  }

 private:
  struct Entry {
    std::uintptr_t address = 0;
    std::uint64_t generation = 0;
    std::uint32_t number = 0;
  };
  std::size_t slot(std::uintptr_t address) const {
    return static_cast<std::size_t>((address * 0x9e3779b97f4a7c15u) >> 20) & (entries_.size() - 1);
  }
  void grow() {
    std::vector<Entry> old(entries_.size() * 2);
    old.swap(entries_);
    used_ = 0;
    const std::uint64_t generation = generation_;
    for (const Entry& e : old) {
      if (e.generation == generation) find_or_add(e.address, e.number);
    }
  }

  std::vector<Entry> entries_;
  std::uint64_t generation_ = 1;
  std::size_t used_ = 0;
};

using Clock = std::array<std::uint32_t, kThreadsMax>;  // a vector clock

// How much of each thread is known, in steps of its clock or in its seq_cst operations.
void join_clock(Clock& to, const Clock& from) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = std::max(to[i], from[i]);
}

// A view as it travels with a message: a stretch of the arena; first the two clocks, then the view
// by location.
struct StoredView {
  std::uint32_t start = 0;
  std::uint32_t size = 0;  // 0: nothing travels
};

struct Message {
  std::uint64_t value;
  StoredView view;
};

// A seq_cst operation as seen from its location.
struct ScTouch {
  std::uint32_t thread;
  std::uint32_t number;  // of the thread's seq_cst operations
  std::uint32_t index;   // of the message read or written
  bool write;
};

struct Location {
  std::vector<Message> messages;  // in modification order
  std::uint32_t floor = 0;        // nothing older may be read by anybody
  std::vector<ScTouch> touches;
};

// The order S of seq_cst operations, as far as it is forced: for each operation, how many of each
// thread's must precede it. A new operation follows what strongly happens before it and what its
// location's coherence puts before it; it may still precede an executed one, if nothing forces the
// contrary.
class ScOrder {
 public:
  void clear() {
    for (auto& thread : before_) thread.clear();
  }
  // What precedes an operation that follows the `known[t]` first operations of every thread t.
  Clock closure(const Clock& known) const {
    Clock result = known;
    for (std::size_t t = 0; t < known.size(); ++t) {
      if (known[t] != 0) join_clock(result, before_[t][known[t] - 1]);
    }
    return result;
  }
  // ... and also reads (or writes, as the newest) message `index` of `location`.
  Clock before_touch(Clock base, const Location& location, std::uint32_t index) const {
    for (const ScTouch& touch : location.touches) {
      if (touch.index < index || (touch.index == index && touch.write)) {
        join_clock(base, before_[touch.thread][touch.number]);
        base[touch.thread] = std::max(base[touch.thread], touch.number + 1);
      }
    }
    return base;
  }
  // The oldest message that an operation may read which follows `base` (a closure): none older than
  // what one of those has touched. Coherence adds nothing: whoever touched an older message
  // precedes those anyway.
  static std::uint32_t oldest(const Clock& base, const Location& location) {
    std::uint32_t index = 0;
    for (const ScTouch& touch : location.touches) {
      if (touch.number < base[touch.thread]) index = std::max(index, touch.index);
    }
    return index;
  }
  // Adds the next operation of `thread`.
  void add(std::uint32_t thread, Clock before, Location& location, std::uint32_t index,
           bool write) {
    const auto number = static_cast<std::uint32_t>(before_[thread].size());
    Clock self = before;
    self[thread] = number + 1;
    // Those of the newer messages, and all that follow them, now follow this one too.
    for (const ScTouch& touch : location.touches) {
      if (touch.index <= index) continue;
      for (std::size_t t = 0; t < before_.size(); ++t) {
        for (std::size_t n = 0; n < before_[t].size(); ++n) {
          const bool later = (t == touch.thread && n == touch.number) ||
                             before_[t][n][touch.thread] > touch.number;
          if (later) join_clock(before_[t][n], self);
        }
      }
    }
    before_[thread].push_back(before);
    location.touches.push_back({thread, number, index, write});
  }

 private:
  std::array<std::vector<Clock>, kThreadsMax> before_;
};

struct Access {
  std::uint32_t clock;
  std::uint8_t thread;
  std::uint8_t bytes;  // of the granule's eight
  bool write;
  bool atomic;
};

class Machine {
 public:
  std::uint64_t load(const void* address, unsigned size, std::memory_order order) {
    const std::uint32_t at = locate(address, size);
    find_readable(at, order);
    const std::uint32_t index = readable_[choose(static_cast<unsigned>(readable_.size()))];
    const std::uint64_t value = read(at, index, order);
    note_atomic(address, size, false);
    return value;
  }

  void store(void* address, unsigned size, std::uint64_t value, std::memory_order order) {
    const std::uint32_t at = locate(address, size);
    note_atomic(address, size, true);
    append(at, value, order, {}, self().sc);
    raw_store(address, size, value);
  }

  std::uint64_t update_read(const void* address, unsigned size, std::memory_order order) {
    const std::uint32_t at = locate(address, size);
    update_known_ = self().sc;
    const Message& message = take(at, newest(at), order);
    note_atomic(address, size, true);
    return message.value;
  }

  void update_write(void* address, unsigned size, std::uint64_t value, std::memory_order order) {
    const std::uint32_t at = locate(address, size);
    append(at, value, order, locations_[at].messages.back().view, update_known_);
    raw_store(address, size, value);
  }

  bool compare_exchange(void* address, unsigned size, std::uint64_t& expected,
                        std::uint64_t desired, std::memory_order success, std::memory_order failure,
                        bool may_fail) {
    const std::uint32_t at = locate(address, size);
    const bool equal = locations_[at].messages.back().value == expected;
    // Choice 0 is what the newest message gives; the others are failures by older, different
    // messages.
    find_readable(at, failure);
    std::erase_if(readable_, [&](std::uint32_t i) {
      return i != newest(at) && locations_[at].messages[i].value == expected;
    });
    if (equal && may_fail) readable_.push_back(newest(at));
    const unsigned choice = choose(static_cast<unsigned>(readable_.size()));
    if (choice == 0 && equal) {
      const Clock known = self().sc;
      const StoredView view = take(at, newest(at), success).view;
      note_atomic(address, size, true);
      append(at, desired, success, view, known);
      raw_store(address, size, desired);
      return true;
    }
    expected = read(at, readable_[choice], failure);
    note_atomic(address, size, false);
    return false;
  }

  void note(const void* address, std::size_t size, bool write, bool atomic) {
    begin_schedule();
    if (!atomic) watching_plain_ = true;
    const auto start = reinterpret_cast<std::uintptr_t>(address);
    for (std::uintptr_t granule = start & ~std::uintptr_t{7}; granule < start + size;
         granule += 8) {
      const std::uintptr_t first = std::max(granule, start) - granule;
      const std::uintptr_t last = std::min(granule + 8, start + size) - granule;
      const unsigned bytes = ((1u << last) - 1) & ~((1u << first) - 1);
      note_granule(granule, static_cast<std::uint8_t>(bytes), write, atomic);
    }
  }

 private:
  struct Thread {
    std::vector<std::uint32_t> view;  // by location: the oldest message that may be read
    Clock clock = {};
    Clock sc = {};  // seq_cst operations that strongly happen before what the thread does next
  };

  std::uint32_t& view_of(Thread& thread, std::uint32_t at) {
    if (thread.view.size() <= at) thread.view.resize(at + 1, 0);
    return thread.view[at];
  }
  Thread& self() { return threads_[static_cast<std::size_t>(current_thread())]; }
  std::uint32_t newest(std::uint32_t at) const {
    return static_cast<std::uint32_t>(locations_[at].messages.size() - 1);
  }

  void begin_schedule() {
    const std::uint64_t now = schedule_number();
    if (schedule_ == now) return;
    schedule_ = now;
    index_.clear();
    location_count_ = 0;
    granules_.clear();
    granule_count_ = 0;
    arena_.clear();
    sc_order_.clear();
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      threads_[i].view.clear();
      threads_[i].clock = {};
      threads_[i].sc = {};
      threads_[i].clock[i] = 1;
    }
  }

  std::uint32_t locate(const void* address, unsigned size) {
    begin_schedule();
    const std::uint32_t at =
        index_.find_or_add(reinterpret_cast<std::uintptr_t>(address), location_count_);
    const std::uint64_t raw = raw_load(address, size);
    if (at == location_count_) {
      if (locations_.size() == location_count_) locations_.emplace_back();
      ++location_count_;
      Location& location = locations_[at];
      location.floor = 0;
      location.touches.clear();
      location.messages.clear();
      location.messages.push_back({raw, {}});
    } else if (Location& location = locations_[at]; location.messages.back().value != raw) {
      // Rewritten by plain stores: whoever did it owned the memory, so the new content is all there
      // is.
      location.messages.push_back({raw, {}});
      location.floor = static_cast<std::uint32_t>(location.messages.size() - 1);
    }
    return at;
  }

  // Fills readable_ with what a load may return, the newest message first.
  void find_readable(std::uint32_t at, std::memory_order order) {
    const Location& location = locations_[at];
    std::uint32_t oldest = std::max(location.floor, view_of(self(), at));
    if (order == std::memory_order_seq_cst && oldest < newest(at)) {
      oldest = std::max(oldest, ScOrder::oldest(sc_order_.closure(self().sc), location));
    }
    readable_.clear();
    for (std::uint32_t i = newest(at) + 1; i-- > oldest;) readable_.push_back(i);
  }

  // What reading a message brings, the place in S left out.
  const Message& take(std::uint32_t at, std::uint32_t index, std::memory_order order) {
    Thread& thread = self();
    std::uint32_t& seen = view_of(thread, at);
    seen = std::max(seen, index);
    const Message& message = locations_[at].messages[index];
    if (acquires(order)) join(thread, message.view);
    return message;
  }

  std::uint64_t read(std::uint32_t at, std::uint32_t index, std::memory_order order) {
    // The place in S first: by C++20's "strongly happens before" what this very load acquires
    // doesn't yet count.
    if (order == std::memory_order_seq_cst) enter_sc_order(at, index, false, self().sc);
    return take(at, index, order).value;
  }

  void enter_sc_order(std::uint32_t at, std::uint32_t index, bool write, const Clock& known) {
    const auto me = static_cast<std::uint32_t>(current_thread());
    Location& location = locations_[at];
    sc_order_.add(me, sc_order_.before_touch(sc_order_.closure(known), location, index), location,
                  index, write);
    ++self().sc[me];
  }

  // `continued`: the view of the message that an RMW replaces; `known`: the seq_cst operations
  // before this one.
  void append(std::uint32_t at, std::uint64_t value, std::memory_order order, StoredView continued,
              const Clock& known) {
    Thread& thread = self();
    const auto index = static_cast<std::uint32_t>(locations_[at].messages.size());
    view_of(thread, at) = index;
    StoredView view = continued;
    if (releases(order)) {
      view = publish(thread, continued);
      ++thread.clock[static_cast<std::size_t>(current_thread())];
    }
    // Published before it takes its own place in S: who acquires it with less than seq_cst isn't
    // ordered behind it.
    if (order == std::memory_order_seq_cst) enter_sc_order(at, index, true, known);
    locations_[at].messages.push_back({value, view});
  }

  static constexpr std::size_t kClocks = 2 * kThreadsMax;  // words before the view in a stored view

  StoredView publish(const Thread& thread, StoredView with) {
    const std::size_t size = std::max<std::size_t>(kClocks + thread.view.size(), with.size);
    const auto start = static_cast<std::uint32_t>(arena_.size());
    arena_.resize(start + size, 0);
    std::uint32_t* out = arena_.data() + start;
    std::copy(thread.clock.begin(), thread.clock.end(), out);
    std::copy(thread.sc.begin(), thread.sc.end(), out + kThreadsMax);
    std::copy(thread.view.begin(), thread.view.end(), out + kClocks);
    const std::uint32_t* other = arena_.data() + with.start;
    for (std::size_t i = 0; i < with.size; ++i) out[i] = std::max(out[i], other[i]);
    return {start, static_cast<std::uint32_t>(size)};
  }

  void join(Thread& thread, StoredView view) {
    if (view.size == 0) return;
    const std::uint32_t* other = arena_.data() + view.start;
    for (std::size_t i = 0; i < kThreadsMax; ++i) {
      thread.clock[i] = std::max(thread.clock[i], other[i]);
      thread.sc[i] = std::max(thread.sc[i], other[kThreadsMax + i]);
    }
    const std::size_t locations = view.size - kClocks;
    if (thread.view.size() < locations) thread.view.resize(locations, 0);
    for (std::size_t i = 0; i < locations; ++i) {
      thread.view[i] = std::max(thread.view[i], other[kClocks + i]);
    }
  }

  // After what an acquire brings (it orders the very access) and before a release moves the clock
  // on.
  void note_atomic(const void* address, unsigned size, bool write) {
    if (watching_plain_) note(address, size, write, true);
  }

  void note_granule(std::uintptr_t granule, std::uint8_t bytes, bool write, bool atomic) {
    const std::uint32_t at = granules_.find_or_add(granule, granule_count_);
    if (at == granule_count_) {
      if (accesses_.size() == granule_count_) accesses_.emplace_back();
      ++granule_count_;
      accesses_[at].clear();
    }
    const auto me = static_cast<std::uint8_t>(current_thread());
    const Clock& clock = self().clock;
    std::vector<Access>& list = accesses_[at];
    bool replaced = false;
    for (Access& a : list) {
      if (a.thread == me) {
        if (a.write == write && a.atomic == atomic && (a.bytes & ~bytes) == 0) {
          a.clock = clock[me];
          a.bytes = bytes;
          replaced = true;
        }
        continue;
      }
      const bool conflict = (a.bytes & bytes) != 0 && (a.write || write) && !(a.atomic && atomic);
      if (conflict && a.clock > clock[a.thread]) report_race(granule, a, write, atomic);
    }
    if (!replaced) list.push_back({clock[me], me, bytes, write, atomic});
  }

  void report_race(std::uintptr_t granule, const Access& other, bool write, bool atomic) {
    char text[160];
    std::snprintf(text, sizeof text,
                  "data race at %#llx: %s%s by thread %d, unordered with %s%s by thread %d",
                  static_cast<unsigned long long>(granule), atomic ? "atomic " : "",
                  write ? "write" : "read", current_thread(), other.atomic ? "atomic " : "",
                  other.write ? "write" : "read", other.thread);
    fail(text);
  }

  std::uint64_t schedule_ = 0;
  AddressIndex index_;
  std::vector<Location> locations_;  // the first location_count_ are in use
  std::uint32_t location_count_ = 0;
  std::vector<std::uint32_t> arena_;
  std::array<Thread, kThreadsMax> threads_;
  ScOrder sc_order_;
  Clock update_known_ = {};  // between the halves of an RMW
  std::vector<std::uint32_t> readable_;
  AddressIndex granules_;
  std::vector<std::vector<Access>> accesses_;  // the first granule_count_ are in use
  std::uint32_t granule_count_ = 0;
  bool watching_plain_ = false;
};

Machine& machine() {
  static thread_local Machine instance;
  return instance;
}

std::uint8_t number(std::memory_order order) { return static_cast<std::uint8_t>(order); }

}  // namespace

std::uint64_t load(const void* address, unsigned size, std::memory_order order) noexcept {
  if (current_thread() < 0) return raw_load(address, size);
  step(address);
  const std::uint64_t value = machine().load(address, size, order);
  record_event(Op::kLoad, address, value, number(order));
  return value;
}

void store(void* address, unsigned size, std::uint64_t value, std::memory_order order) noexcept {
  if (current_thread() < 0) return raw_store(address, size, value);
  step(address);
  machine().store(address, size, value, order);
  record_event(Op::kStore, address, value, number(order));
}

std::uint64_t update_read(void* address, unsigned size, std::memory_order order) noexcept {
  if (current_thread() < 0) return raw_load(address, size);
  step(address);
  return machine().update_read(address, size, order);
}

void update_write(void* address, unsigned size, std::uint64_t value, Op op,
                  std::memory_order order) noexcept {
  if (current_thread() < 0) return raw_store(address, size, value);
  machine().update_write(address, size, value, order);
  record_event(op, address, value, number(order));
}

bool compare_exchange(void* address, unsigned size, std::uint64_t& expected, std::uint64_t desired,
                      std::memory_order success, std::memory_order failure,
                      bool may_fail) noexcept {
  if (current_thread() < 0) {
    const std::uint64_t before = raw_load(address, size);
    if (before == expected) {
      raw_store(address, size, desired);
      return true;
    }
    expected = before;
    return false;
  }
  step(address);
  const bool done =
      machine().compare_exchange(address, size, expected, desired, success, failure, may_fail);
  record_event(done ? Op::kCas : Op::kCasFailed, address, done ? desired : expected,
               number(done ? success : failure));
  return done;
}

void note_read(const void* address, std::size_t size) noexcept {
  if (current_thread() < 0 || size == 0) return;
  machine().note(address, size, false, false);
  record_event(Op::kPlainRead, address, size, 9);
}

void note_write(const void* address, std::size_t size) noexcept {
  if (current_thread() < 0 || size == 0) return;
  machine().note(address, size, true, false);
  record_event(Op::kPlainWrite, address, size, 9);
}

}  // namespace tern::concurrency::weak
