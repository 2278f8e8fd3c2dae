// EventRig: the rig with somebody who listens. What is told is compared with what was done: each change once, those of a
// key in order, none before it can be read, and gaps that count what they hide.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_EVENT_RIG_H_
#define TERN_TESTS_ENGINE_SCHEDULES_EVENT_RIG_H_

#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include "engine/events.h"
#include "engine/subscription.h"
#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {

class EventRigBase {
 public:
  using R = RigOf<OneEngineSync>;
  using Sync = R::Sync;
  using Sub = tern::detail::Subscription<Sync>;
  using Events = tern::detail::Events<Sync>;
  using What = tern::detail::EventSeen::What;
  static constexpr unsigned kChangesMax = 32;
  static constexpr std::size_t kTagBytes = 32;

  // `listening`: from before the schedules on.
  explicit EventRigBase(Mutant planted, int threads, unsigned cells, bool listening = true, std::uint64_t ring_bytes = 1 << 20);

  void listen();
  void listen_with(const R::View& view);
  // Somebody else listens, and has for a while.
  void another_listens();
  bool enter() { return sub_->enter(0, 1, positions_); }
  void leave(int t);

  void restore();

  // --- changes, noted with the version that they got ---

  void set(int t, const Key& k, const char* value) { note(t, k, 'p', value[0], rig.set(t, k, value)); }
  void set_nx(int t, const Key& k, const char* value) { note(t, k, 'p', value[0], rig.set_nx(t, k, value)); }
  // With one tag, the value's first byte 32 times.
  void set_tagged(int t, const Key& k, const char* value);
  void del(int t, const Key& k);
  void move(int t);
  void pass(int t, unsigned count = 1);

  // --- listening ---

  void poll(int t, unsigned most = kChangesMax);
  // The next change, and of what set_tagged has written its tag alone, late.
  void poll_tag(int t);

  // --- judging ---

  // What listeners don't promise to know: where a key stood when they came.
  void know_from(unsigned k, std::uint64_t version) { from_version_[k] = version; }
  void incomplete() { complete_ = false; }

  std::string check();

  R rig;
  Key key, other, absent;
  unsigned changes() const;

 private:
  using Rec = R::Rec;
  struct Told {
    unsigned key = 0;
    char kind = 'p';
    char value = 0;
    std::uint64_t version = 0;
    std::uint64_t lost_before = 0;
  };
  struct Done {
    unsigned key;
    char kind, value;
    std::uint64_t version;  // all ones: not known
  };
  struct Log {
    Done list[kChangesMax];
    unsigned count = 0;
  };

  const Key& key_of(unsigned number) const { return number == 0 ? key : number == 1 ? other : absent; }
  unsigned number_of(std::string_view k) const;
  void note(int t, const Key& k, char kind, char value, std::uint64_t version);

  // A record in a ring has the hold of its cell and no other; one that is nowhere else either has none.
  void check_holds();

  void judge();

 public:
  bool may_lose = false;

 private:
  unsigned cells_;
  alignas(Sub) unsigned char storage_[sizeof(Sub)] = {};
  unsigned char saved_[sizeof(Sub)] = {};
  Sub* sub_ = nullptr;
  std::uint64_t positions_[1] = {};
  std::uint64_t saved_position_ = 0;
  bool listening_ = false, saved_listening_ = false;
  bool complete_ = true;
  std::uint64_t from_version_[3] = {};
  Told told_[kChangesMax];
  unsigned told_count_ = 0;
  std::uint64_t lost_ = 0, gaps_ = 0;
  Log done_[kThreadsMax + 1];
};

// With a bug planted.
template <Mutant M>
class EventRig : public EventRigBase {
 public:
  template <class... Args>
  explicit EventRig(int threads, Args&&... args) : EventRigBase(M, threads, std::forward<Args>(args)...) {}
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_EVENT_RIG_H_
