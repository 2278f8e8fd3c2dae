// BatchRig: the rig with four keys whose state is judged as a whole. Two are there from the beginning ("0"), one has a
// deadline, one is absent. Every operation records what it was answered; the checker looks for one order of all of them.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_BATCH_RIG_H_
#define TERN_TESTS_ENGINE_SCHEDULES_BATCH_RIG_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/batch_writer.h"
#include "engine/expiry.h"
#include "engine/scans.h"
#include "engine/subscription.h"
#include "tests/engine/schedules/exploring.h"
#include "tests/sync/map_spec.h"

namespace tern::concurrency {

using Part = MapOp::Part;
using What = Part::Kind;

// One operation of a batch.
struct Ask {
  What what;
  unsigned key;
  char value = '0';
  bool keep_ttl = false;
  bool keep_metadata = false;
};

enum class Chains : std::uint8_t { kShort, kKeptByAView };
enum class StoreKind : std::uint8_t {
  kPlain,
  kTagged,   // keys 0 and 1 have the tag "digit"
  kOrdered,  // an ordered store
  kFull,     // as many entries as there may be: the next one evicts
  kDue,      // it is 130, and key 2 is due at 140; every level of the wheel has its positions
  kSplitting,  // the next three splits are of their buckets, and they move
};

class BatchRigBase {
 public:
  using R = RigOf<OneEngineSync>;
  using Sync = R::Sync;

  // In the order of their hashes. Keys 0, 1 and 2 are there, 2 with a deadline; 3 is not. In buckets of their own, but 3
  // beside 0.
  explicit BatchRigBase(Mutant planted, int threads, Chains chains = Chains::kShort, StoreKind kind = StoreKind::kPlain);

  // The state that schedules begin from doesn't have the key.
  void begin_without(unsigned key);
  void restore();
  std::string check();
  // What threads hold back goes to eviction's queues.
  void settle_queues();
  std::string check_stopped();

  // The state that schedules begin from has a listener: what it is told are each key's changes in order, and come to what is there.
  void listen();

  // --- recorded operations ---

  // `judged`: its answer is part of the history.
  bool batch(int t, std::initializer_list<Ask> asked, bool judged = true) { return batch(t, std::span(asked.begin(), asked.size()), judged); }
  bool batch(int t, std::span<const Ask> asked, bool judged = true);
  bool set(int t, unsigned key, char value);
  // No part of the history: the value stays.
  bool set_metadata(int t, unsigned key, std::string_view metadata);
  bool del(int t, unsigned key);
  bool swap(int t, unsigned key, char from, char to);
  void add(int t, unsigned key);
  char get(int t, unsigned key);
  // All at one moment.
  void read(int t, std::initializer_list<unsigned> which);
  // By a view that is opened, read twice and closed: a reading at the moment of opening. `between`: before it is read again.
  void view(int t, std::initializer_list<unsigned> which, const std::function<void()>& between = {});
  // All keys at one moment, leases too, or one: an invalidation point.
  void clear(int t);
  void clear_one(int t, unsigned key);
  // All that have the tag "digit".
  void clear_digits(int t);
  // If the key is there, it gets the tag "letter", and no other.
  void set_letter(int t, unsigned key, char value);
  // Two laps of the hand, if there is something to sweep.
  void sweep(int t);
  // A lease with number 1, alive until then, and members of it: keys 0 and 1 with '4'. The state that schedules begin from.
  void lease_two(std::uint64_t deadline_ms = 1000);
  // It is 130, and keys 0 and 1 with '4' are due at 140: the state that schedules begin from. Others like them.
  void mortal_two();
  void set_mortal(int t, unsigned key, char value);
  // A key that is there is due at 140, or at 1000.
  void touch(int t, unsigned key, bool mortal);
  // It is 150, and what is due goes.
  void pass(int t);
  // The key's record, if there is one, to another block. No part of the history.
  void move(int t, unsigned key);
  void set_member(int t, unsigned key, char value);
  void revoke(int t);
  // No part of the history.
  bool keep_alive(int t, std::uint64_t deadline_ms);
  // Until 1000.
  void put_off(int t);
  void sweep_leases(int t);
  bool expire(int t, unsigned key, std::uint64_t deadline_ms);

  R rig;
  std::array<Key, 4> keys;
  bool values_differ = true;  // no two writes of a key are of one value: a batch's version is known by it

  // Time goes by, and what is due goes.
  static constexpr std::uint64_t kDueMs = 140;
  void fire(int t, std::uint64_t now);
  // One victim.
  void evict(int t);
  // By a scan of an ordered store's view: a reading at the moment of opening.
  void scan(int t);

 private:
  using Outcome = tern::detail::Committed::Outcome;

  Outcome put(R::Thr& t, unsigned key, char value, const tern::detail::SetTerms& terms);
  Outcome put_member(R::Thr& t, unsigned key, char value);
  Outcome put_mortal(R::Thr& t, unsigned key, char value);
  Call<MapOp>& begin(int t, const MapOp& op);
  // An eviction, somewhere in the call of whoever made it.
  static void told_of(void* user, std::string_view key, std::string_view, tern::RemovalCause cause);
  void finish(Call<MapOp>& call, Outcome outcome);
  void invalidate(int t, const MapOp& op, const tern::detail::PointScope& scope);
  std::string judge();
  void hear();
  bool is_digit(const R::Rec& r, tern::detail::Stamp s) const;
  void hear_of(const tern::detail::Subscription<Sync>::Next& next);

  static constexpr std::string_view kDigit[] = {"digit"}, kLetter[] = {"letter"};
  tern::detail::TagBlock digit_, letter_;
  std::unique_ptr<Recorder<MapOp>> recorder_;
  LinearizabilityChecker<MapSpec> checker_;
  std::array<Call<MapOp>*, 8> open_{};
  static inline tern::detail::Scans<Sync>::Step step_[4];  // of each thread
  Chains chains_ = Chains::kShort;
  R::Opened view_{};  // kKeptByAView: open in every schedule
  bool judged_ = true;
  bool touched_ = false;  // a new lifetime takes a version
  bool keeps_mortal_ = false;  // what goes does so by a deadline of its own, which keep_ttl keeps
  bool leased_ = false;
  MapSpec::State initial_ = {'0', '0', '0', 0, 0};
  std::map<std::pair<unsigned, char>, std::uint64_t> told_;

  using Sub = tern::detail::Subscription<Sync>;
  struct Heard {
    char value = 0;  // 0: it isn't there
    std::uint64_t version = 0;
    bool is_digit = false;
    bool was_cleared = false;
  };
  alignas(Sub) unsigned char listener_[sizeof(Sub)] = {};
  unsigned char listener_at_freeze_[sizeof(Sub)] = {};
  Sub* sub_ = nullptr;
  std::uint64_t position_[1] = {}, position_at_freeze_ = 0;
  std::array<Heard, 4> heard_, heard_at_freeze_;
};

// With a bug planted.
template <Mutant M = Mutant::kNone>
class BatchRig : public BatchRigBase {
 public:
  template <class... Args>
  explicit BatchRig(int threads, Args&&... args) : BatchRigBase(M, threads, std::forward<Args>(args)...) {}
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_BATCH_RIG_H_
