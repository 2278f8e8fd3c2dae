// Stops real threads for ever (until the test ends) at named points, to see that the others don't
// wait for them.
//
// In the deterministic scheduler the same is Options::parks and Options::freeze (scheduler.h):
// every schedule, small bodies. This tool is for the whole store under real threads, at full speed:
//
//   Parking parking;
//   parking.arm(/*role=*/1, "table.before_live");
//   std::jthread stopped([&] { Parking::Role role(parking, 1); store.set(...); });
//   ASSERT_TRUE(parking.wait(1));          // parked; false: it ended without coming by
//   ... 100,000 operations of the other threads, all of which must succeed ...
//   parking.release();                     // also done by the destructor: everybody goes on and
//   can be joined
//
// Points are reported by ParkSync::point in a template core, or in test builds of the whole library
// by StdSync::hook = &Parking::hook. A thread without a Role passes every point. `seen` lists the
// points that came by, so that a test can loop over all of them instead of a list that gets stale.
//
// The mutex in here is the test's, held for a moment at a point and never while a thread of the
// store runs.
#ifndef TERN_TESTS_SYNC_PARKED_H_
#define TERN_TESTS_SYNC_PARKED_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "alloc/sync.h"

namespace tern::concurrency {

class Parking {
 public:
  // For the time of its life, makes the calling thread the one that arm(role, ...) means.
  class Role {
   public:
    Role(Parking& parking, int role);
    ~Role();
    Role(const Role&) = delete;
    Role& operator=(const Role&) = delete;

   private:
    friend class Parking;
    Parking& parking_;
    const int role_;
    Role* const outer_;
  };

  Parking() = default;
  ~Parking();
  Parking(const Parking&) = delete;
  Parking& operator=(const Parking&) = delete;

  // The thread of this role stops when it comes to `point` for the `occurrence`-th time from now.
  void arm(int role, std::string point, unsigned occurrence = 1);
  // Blocks until the thread of this role is parked (true) or has given up its role (false).
  bool wait(int role);
  bool is_parked(int role) const;
  // Lets every parked thread go on, and parks nobody any more.
  void release();
  // Blocks until no thread has a role. Join instead where you can.
  void wait_until_idle();
  // Names of the points that threads with a role passed so far, in alphabetical order.
  std::vector<std::string> seen() const;

  // What the policies call; also the value for StdSync::hook.
  static void hook(const char* point);

 private:
  struct Rule {
    std::string point;
    unsigned left = 0;  // passes until it stops; 0: not armed
  };

  void pass(int role, std::string_view point);
  void enter(int role);
  void leave(int role);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, Rule> rules_;
  std::set<int> parked_;
  std::set<int> ended_;
  std::set<std::string, std::less<>> seen_;
  int active_ = 0;
  bool released_ = false;
};

// The policy: std::atomic, with points that may park the thread.
template <tern::detail::Mutant M = tern::detail::Mutant::kNone>
struct ParkSync {
  template <class T>
  using Atomic = std::atomic<T>;
  static constexpr tern::detail::Mutant mutant = M;
  static constexpr bool kWordwise = tern::detail::StdSync::kWordwise;
  static void point(const char* name) { Parking::hook(name); }
  static void plain_read(const void*, std::size_t) noexcept {}
  static void plain_write(const void*, std::size_t) noexcept {}
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_PARKED_H_
