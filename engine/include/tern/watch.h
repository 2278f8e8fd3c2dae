// Watch: every change of the keys that it is for, in order, exactly once, or a gap that says how many were lost.
//
//   auto watch = store.watch_prefix("session:");
//   tern::Change changes[64];
//   while (watch->wait(1s)) {
//     for (const tern::Change& c : std::span(changes).first(*watch->poll(changes))) handle(c);
//   }
//
// Changes of one key come in the order in which they happened, and no sooner than a get can read them; there is no order
// between keys. A change that didn't commit is never told, and neither is what changes no value: a new deadline, a
// condition of a batch. A key that expires is told when it is removed, which may be later than the moment from which reads
// miss it; if it is overwritten before that, by its put alone (Change::after_expired). The changes of a batch come one by one, each
// with the batch's number and size (Change::batch).
//
// clear, del_prefix and del_tag are told once in each ring, as kInvalidate, to every watch with a key that may be of their scope:
// what the watch has told of that ring up to here, of the scope, is gone. The keys aren't told one by one, and a put that was on
// its way meanwhile may be told by nothing else. So a watch of one key gets one, others up to one for each ring; a mirror drops
// from its keys those of the scope that came with the same Change::shard, or all with a stamp of up to Change::stamp. (A watch that
// begins at the very moment of the call, or without memory for those events, is told the deletions, when they are swept.) The end
// of a lease is told key by key, as expiry.
//
// Changes wait in rings of a bounded size (Options::ring_bytes), one a shard, or one for a few shards where there are more than 8 for
// each processor; a key's is always the same. A writer never waits for who watches: one
// that is overtaken gets one kGap for each time, with the number of changes lost in that ring, and goes on from what
// is still there. Lost ones are counted before they are looked at: some may not have been for this watch. To be whole
// again, begin another with WatchOptions::initial.
//
// While anybody watches, each change in the store costs its writer a few atomic operations on its shard's ring, whoever
// and however many it is for. Each watch reads the changes of its rings itself (a key's watch has one), at its
// own cost: thousands of filters belong into one WatchSet (watch_set.h); callbacks are in dispatcher.h. At most 262,143 watches a store. One
// thread at a time may use a Watch; which one doesn't matter.
#ifndef TERN_WATCH_H_
#define TERN_WATCH_H_

#include <tern/result.h>
#include <tern/value.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tern {

namespace detail {
class Dispatch;
class Feed;
enum class WatchKind : std::uint8_t { kKey, kPrefix, kGlob, kRegex };
}

enum class ChangeKind : std::uint8_t {
  kPut,
  kDelete,
  kExpire,
  kEvict,
  kInvalidate,  // of this ring everything up to `stamp` is gone that is of the scope which `scope` and `key` name
  kGap,         // `lost` changes of one ring were overrun
  kSynced,      // the initial contents are complete; what follows are changes
  kProgress,    // WatchOptions::progress: everything that was told so far has been answered, or was for others
};
constexpr std::uint32_t kind_bit(ChangeKind kind) noexcept { return std::uint32_t{1} << static_cast<unsigned>(kind); }
inline constexpr std::uint32_t kEveryKind = (1u << 8) - 1;

// What a kInvalidate is for.
enum class ChangeScope : std::uint8_t {
  kAll,     // of the store, or of the watch's namespace
  kPrefix,  // keys that begin with `key`
  kTag,     // entries with the tag `key`: Change::has_tag of their put
};

// The bytes are the store's own: good until the next poll() of the watch, or its end.
struct Change {
  ChangeKind kind = ChangeKind::kPut;
  bool initial = false;  // of a put: it was there when the watch began
  unsigned shard = 0;    // the number of its ring
  std::string_view key{};
  std::string_view value{};    // of a put
  std::string_view previous{};  // WatchOptions::previous
  bool has_previous = false;
  std::uint64_t version = 0;   // of the key; grows with each change, gets say the same
  std::uint64_t stamp = 0;     // where views stand in the order of changes (View::stamp)
  std::uint64_t sequence = 0;  // in its ring
  std::uint64_t lost = 0;      // of a gap
  ChangeScope scope = ChangeScope::kAll;  // of kInvalidate
  std::string_view tags{};     // of a put: each tag behind one byte with its length
  std::string_view metadata{};  // of a put: SetOptions::metadata
  // Of a put: it took the place of a value that had expired and that nobody had removed yet; no kExpire is told for that one.
  bool after_expired = false;
  // Of a change that a batch or transaction made: which one, a number that grows with each, and of how many changes it consists,
  // for whomever they are. Conditions don't count, nor do removals of keys that aren't there. 0: of none.
  std::uint64_t batch = 0;
  std::uint32_t batch_size = 0;

  // Of a put: whether its entry has the tag.
  bool has_tag(std::string_view tag) const noexcept {
    for (std::size_t at = 0; at < tags.size(); at += 1 + static_cast<unsigned char>(tags[at])) {
      if (tags.substr(at + 1, static_cast<unsigned char>(tags[at])) == tag) return true;
    }
    return false;
  }
};

struct WatchOptions {
  // Which kinds to tell, kind_bit() of each. kGap, kSynced and kProgress are always told.
  std::uint32_t kinds = kEveryKind;
  // Without values: cheaper for large ones, whose memory then isn't kept.
  bool keys_only = false;
  // First every key that is there now, as a put with `initial`, from a view; then kSynced; then every later change, with
  // nothing between lost or doubled. If the view is ended to make room, poll answers view_expired: begin again.
  bool initial = false;
  // Of several changes of a key that are waiting, the last alone. What was passed over isn't counted.
  bool coalesce = false;
  // Change::previous: the value that the watch has told before, if the key had one and it is still known. What was told (initial
  // contents too) is remembered in private memory, outside the store's budget: up to memory_bytes; then what was told longest ago is
  // forgotten. After a gap, and with coalesce or kinds left out, what lay between isn't seen: it is the last that was told.
  bool previous = false;
  // Passes over a put of the value that was told last, byte for byte, and the removal of a key that was told to be gone; as far as
  // that is remembered, like previous.
  bool on_change_only = false;
  std::size_t memory_bytes = std::size_t{4} << 20;
  // The changes of a batch come one behind the other, with no other change between, and in one poll if there is room for them; a
  // later poll goes on with what there wasn't. Until all of a batch are there, those that are there wait, and so does what came
  // after them: as long as the batch's writer takes to tell it, but no more than 8,192 changes, or records of memory_bytes. A batch
  // comes piece by piece after a gap, where clear, del_prefix or del_tag came between, and where a token cuts it. What waits is
  // held, and token() is unavailable meanwhile. Not together with coalesce.
  bool gather = false;
  // After a poll that has answered all there was, none answers anything for so long, by the store's clock: changes come in
  // bundles, with coalesce the last of each key. A ring may overrun meanwhile: then there is a gap. 0: none. Not with descriptor().
  std::chrono::milliseconds min_interval{0};
  // A kProgress each time so much time has passed, by the store's clock, from the next poll that finds nothing more: its token() is up to
  // date although nothing was told for long. Change::stamp is where the clock stood when the poll began: a change with a smaller
  // stamp comes only if its writer was under way. 0: none.
  std::chrono::milliseconds progress{0};
  // Goes on where another watch of the same kind stood: its token(). `compacted` if the store can't: it is another one,
  // nobody has watched for a while, or what came since is gone. Not together with initial.
  std::string_view resume{};
  char separator = '.';    // of watch_glob
  bool fold_case = false;  // of watch_glob and watch_regex: ASCII letters match in both cases
};

// Counts as a handle of its store. After close() of the store every call answers `closed`.
class TERN_API Watch {
 public:
  // Changes that one poll answers at most.
  static constexpr std::size_t kPollMax = 256;

  Watch() noexcept = default;
  Watch(Watch&& other) noexcept : feed_(other.feed_) { other.feed_ = nullptr; }
  Watch& operator=(Watch&& other) noexcept;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { close(); }

  // Ends it, and what the last poll has answered. Idempotent; safe while its changes are being handled.
  void close() noexcept;
  bool is_open() const noexcept { return feed_ != nullptr; }

  // What has happened since the last call, oldest first, up to out.size() and kPollMax; 0: nothing. Never blocks, takes no
  // lock, allocates nothing, makes no system call. The bytes stay until the next call: small ones are copied, up
  // to 8 KiB, of larger ones the store keeps the record. Looks at no more than 65,536 changes that are for others. closed, view_expired (initial).
  Result<std::size_t> poll(std::span<Change> out) noexcept;

  // Until there is something to poll (true) or the time is over (false), which may be 0. Passes over what is for others;
  // sleeps in the system.
  Result<bool> wait(std::chrono::milliseconds timeout) noexcept;

  // A descriptor for epoll and its like: readable when a poll may have something; a poll that answers less than it was
  // asked for lowers it. The watch's own: don't read or close it. io: the system refused. too_large (watches): 64 of
  // one store have one. invalid_argument (min_interval): nobody would raise it when the interval is over.
  Result<int> descriptor() noexcept;

  // Where the watch stands, to be given to WatchOptions::resume of another one: after everything that the last poll has
  // answered. unavailable while initial contents are under way, or changes wait to be gathered. 8 bytes a ring and 56.
  // From the first one on, until nobody watches, the rings keep what was read as long as their share allows: writers pay for that.
  Result<Value> token() const noexcept;

  // Changes that were lost, in all gaps so far.
  std::uint64_t lost() const noexcept;
  // Changes of the store that it has yet to look at.
  std::uint64_t lag() const noexcept;
  // As which Store::holders names it; no other watch of the store has had it. 0: it is closed.
  std::uint64_t id() const noexcept;

 private:
  friend class Store;
  friend class detail::Dispatch;
  explicit Watch(detail::Feed* feed) noexcept : feed_(feed) {}

  detail::Feed* feed_ = nullptr;
};

}  // namespace tern

#endif  // TERN_WATCH_H_
