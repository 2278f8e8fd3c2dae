// The atomics policy: what a lock-free core is parameterised with.
//
// Every lock-free structure in Tern is a template over `Sync`. In the library that is `StdSync`: plain
// `std::atomic`, no hooks, no cost. The tests instantiate the same templates with policies of their own:
//   * one whose atomics yield to a deterministic scheduler before each operation,
//   * one that keeps the modification history of each word and answers loads as a weak memory model may,
//   * one that parks a thread at a named point for ever,
//   * and each of these with a planted bug (`mutant`), to see whether the tests would notice.
//
// A policy has:
//   template <class T> using Atomic        same size and alignment as T, overlays raw zero-filled memory
//   static void point(const char* name)    a named step: linearization points, publish, retire, migrate
//   static void plain_write(p, n), plain_read(p, n)   bytes that are not atomic are written or freed, or read here
//   static constexpr Mutant mutant         the bug that this instantiation carries, kNone outside tests
//   static constexpr bool kWordwise        true: vector loads over atomic words are replaced by word loads
//   kUnstamped, if it has that: records are born with their stamp, and there are no views. For one purpose: the benchmark
//                                          that says what stamps cost
//
// Shared by alloc/ and engine/; keep its includes minimal.
#ifndef TERN_ALLOC_SYNC_H_
#define TERN_ALLOC_SYNC_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tern::detail {

// Catalogue of planted bugs: one enumerator for each line of reasoning that a test must be able to defend.
enum class Mutant : unsigned char {
  kNone,
  // table
  kMissWithoutHomeCheck,      // a miss is believed although the table grew under it
  kNoSecondLook,              // a tentative slot becomes live without looking for its key again
  kLiveWithoutHomeCheck,      // ... without asking whether growth has moved the key's home
  kBackOffFromTentative,      // a tentative word of another thread is waited for instead of helped
  kReadyAfterSlots,           // a miss trusts a control word that was read after the slots
  kReadyInverted,             // a bucket under construction is taken for a finished one
  kSplitClearsEarly,          // the source of a split is cleared before the target is complete
  kOverflowFilterLate,        // the filter bit of an overflow slot is set after the slot
  kFloorAfterEmpty,           // the version floor is raised after the slot was emptied
  kVersionByStore,            // the first version of a key is stored, not agreed on
  kSwapFromStaleWord,         // a conditional write swaps from a word it re-read after judging
  kKillWithoutCopy,           // a killed record is placed again
  kValueFromWrongKeyLength,   // the value's address is computed from a wrong key length
  // stamps and chains
  kStampBeforePublish,
  kReadUnstamped,             // a reader returns a record that nobody has stamped
  kReplaceUnstamped,          // a writer replaces a record that nobody has stamped
  kTrimNeeded,                // a version that a view needs is unlinked
  kGivenUpIsKept,             // what a view's reader is done with stays for it
  kTrimWithoutClose,          // a link is unhooked without closing the one below
  kNolinkOnUnequalStamp,      // the chain is cut although a view may lie between the stamps
  kTrimUnmarked,              // a trimmed link looks like one that was never trimmed
  kLinkAfterState,            // a reader takes what is below an intent after it has asked for the batch's fate
  // batches
  kBatchStampEarly,           // a batch's stamp is read before its records are installed
  kBatchLateInstall,          // a record is installed without asking whether the batch is decided
  kBatchWithoutFreeze,        // an intent is installed over a deadline that can still move
  kBatchStaleMetadata,        // a batch keeps metadata that were read before and have changed since
  kBatchVersionByStore,       // a batch's version is stored, not agreed on
  kBatchLookLate,             // what a batch's record replaces is stored while others may agree on it
  kBatchBucketUnready,        // a batch replaces what it finds in a bucket whose split isn't complete
  kBatchPlaceholderTold,      // a placeholder is told as if something had been removed
  kBatchAbsentTold,           // a batch's removal of a key that isn't there is told
  kBatchStampShared,          // a batch that is told takes a stamp that others may have
  kBatchToldUnnamed,          // a batch is told whose records have no room for its size
  kBatchMiscounted,           // the removals of what isn't there count as changes that are told
  kBatchPlaceholderLeft,      // a placeholder that came too late stays
  kBatchHuskLeft,             // a failed batch's intents stay
  kBatchRecallSkipped,        // what helpers install of a batch that was given up is left there
  kBatchRecallOpen,           // ... may still be agreed on after its owner has looked
  kBatchRecallOverwrites,     // ... is put in its slot whatever is there by then
  kBatchRefusesRemoval,       // a removal is refused for want of the memory that a batch in its way needs
  kViewClockStands,           // a view is opened without moving the clock
  kViewNotLookedAtAgain,      // what a view's reader found is believed although the view may have ended
  kViewTimeGoesOn,            // a view judges deadlines by the time of the read
  kViewOfTwoTimes,            // a view judges deadlines by a time that isn't its moment's
  kViewReadsUnfrozen,         // a view shows a record whose deadline may still move
  kWalkWithoutHomeCheck,      // a bucket that was walked is left although growth took keys out of it meanwhile
  kWholeYounger,              // a save takes a record as it lies although it is younger than the view
  kWholeBelowUnjudged,        // ... takes what lies below the newest without asking how old that is
  kUnhookUnmarked,            // a version is unhooked without saying so to whoever is about to count it
  // invalidation points
  kPointStampFirst,           // a point has its stamp before it is in the table
  kPointCountLate,            // readers are made to look only after it has its stamp
  kPointCountAfter,           // a reader asks whether there are points after it has found its record
  kPointNotHelped,            // a point that has no stamp yet is taken for none
  kPointNotLookedAgain,       // a record is believed alive although it was buried, and its killer swept, meanwhile
  kPointDeadBelieved,         // a record is believed dead although it was replaced before it died
  kPointBatchUnseen,          // ... by a batch that was under way
  kPointDroppedEarly,         // a point goes although a view may meet what it kills
  kPointOutlived,             // what was made from a record that died meanwhile lives on
  kMadeBeforeItsHead,         // what was made dies by a point that what it was made from came after
  kPointRetagged,             // ... where the point that killed that isn't for its own tags
  kPointKillsNewer,           // the sweep buries what came after the point
  kPointEventOvertaken,       // what a point has killed is told after the point
  kPointEventBehind,          // what came after a point is told before it
  kPointKeysTold,             // what a point has killed is told key by key, too
  kPointMetAlive,             // a write takes a dead head for a live one
  // leases
  kLeaseUnasked,              // a read finds a member and doesn't ask for its lease
  kLeaseNotLookedAgain,       // a member whose lease is over is a miss although it was replaced before that
  kLeaseUnfrozen,             // a lease that was seen past its deadline can still be kept alive
  kLeaseMetAlive,             // a write takes a member whose lease is over for a live one
  kLeaseOutlived,             // a batch commits although what it depends on went with its lease meanwhile
  kLeaseInCollect,            // two looks at slots are believed of members, too
  kLeaseMovedUnseen,          // a lease is over although the record that says so was replaced before its instant
  // lifetimes
  kReplaceWithoutFreeze,      // a deadline is inherited without freezing it first
  kExpiredIsPresent,
  kExpiredBelieved,           // a read takes a record for expired that was replaced before it had
  kExpiredKept,               // ... a write that leaves it as it is
  kExpiredAsked,              // ... a batch that asks for it
  kExpiredUnfrozen,           // what was seen past its deadline can still be touched
  kTouchUnsaid,               // a touch moves a deadline without having said so before it asked for views
  kTouchShown,                // ... and who looks at the deadline meanwhile leaves it at that
  kTouchedToNever,            // a touch takes a deadline away in place, so that a word comes back that another touch has asked views for
  kTouchedUnjudged,           // a touch moves a deadline that it hasn't judged, as another touch has put it there
  kDeadlineOutlived,          // what was made from a record that has expired, or gone with its lease, meanwhile lives on
  kWheelFileOnce,             // a ticket stays where its time went by while it was filed
  kWheelNoStragglers,         // what was filed while the time moved on is left to the next round
  kWheelUnmarkOnce,           // a position's mark is taken away although it got a ticket meanwhile
  kTicketAlwaysInherited,     // an earlier deadline keeps the ticket of the later one
  kHuskHasTicket,             // a ticket is taken for that of a husk, which nobody can remove
  kTicketLinkAfterX,          // what is below an intent is read after its deadline's word
  kTicketOfUndecided,         // a ticket is taken for void as its key's head, which may yet come to nothing, has another
  kTicketLostUnsaid,          // a ticket that found no memory is taken for filed
  kExpireUnjudged,            // a ticket removes its key without asking for the deadline that it has now
  kExpireBesideView,          // what has expired leaves without a tomb although a view may have it
  // reclamation
  kLeaveNestedGuard,          // the inner guard's end is taken for the outer's
  kFreeAtEqualEpoch,          // a bag is freed while a thread still announces its label
  kTakenBackEarly,            // a call takes back what others may still be reading
  kRelaxedAnnounce,
  kRelaxedSlotLoad,
  kScanRelaxed,
  kFreeHeld,                  // holds are not looked at after the grace period
  kDropWithoutOrphanTest,
  kLimboUncounted,
  // queues
  kQueueCellByStore,          // a push fills its cell although a pop has given it up
  kQueuePopByStore,           // an entry is taken without asking whether another has taken it
  kQueueCloseByStore,         // an empty segment is closed although a cell was given out meanwhile
  kQueueDropOpenEnd,          // a last segment is unlinked without closing its end
  kQueueFreeAtOnce,           // an unlinked segment is freed without a grace period
  kQueueLinkRelaxed,          // a segment is linked without publishing its words
  kQueuePassOpenSegment,      // a segment before a run is unlinked although a cell of it can still be given out
  // events
  kEventFlagBeforeTail,       // whether a record is told is asked before the tail is read
  kEventTailBeforeFlag,       // the tail passes a record that isn't flagged yet
  kEventHoldResurrected,      // a cell names a record before it holds it
  kEventLoserHolds,           // whoever comes too late to publish a record keeps its hold
  kEventTurnTakenLate,        // a writer takes his turn once others may have found his record
  kEventFilledUnpassed,       // a position is filled again before what it stood for was given up
  kEventUntoldHolds,          // a record that comes to be told to nobody keeps the hold that it was born with
  kEventFlagRestamps,         // whoever flags its own record writes a stamp of its own over one that a helper gave
  kEventPassedAtOnce,         // who tells something passes all that lies past the rings' share, and not a few
  kEventReleasedAtOnce,       // a cell's hold goes while a subscriber may be at the record
  kEventGapSwallowed,         // a subscriber that was overrun goes on as if nothing had been
  kEventFloorPastTail,        // positions are given up that nobody has filled
  kEventAbortedTold,          // what an aborted batch wrote is told
  kEventReplacedUntold,       // a record is replaced before it is told
  kEventBuriedUntold,         // a tomb leaves its slot before it is told
  kEventOldDelivered,         // a subscriber gets what it has from its view once more
  kEventBeforeStamp,          // whether anybody listens is asked before the stamp is read
  kRoundNotedLate,            // a ring's tail is noted after the round's number is read
  kRoundArrivesUnread,        // a listener arrives in a round that was opened after it began to read
  kRoundLeaverStays,          // who leaves is still counted among those who have arrived
  kRoundMarkOvertaken,        // who has read a tail long ago takes a mark with a later one for one far ahead
  kRoundAfterARow,            // a ring of which a row was read counts as read to its end
  kReadGoesAtOnce,            // what everybody has read comes free although somebody is inside who was so before
  kRoundOfBefore,             // a number of before the noted one tells that the noted tail was read
  kRoundPastToken,            // rounds go on although a token may ask for what was read
  // locks
  kLetGoTwice,                // what a ring has let go is taken off the account when that is so, and once more when it comes free
  kRollUnasked,               // who looks at a watch's line believes it although another has it by now
  kRollClaimedBlindly,        // a watch takes a line that another has taken meanwhile
  kConditionAskedFirst,       // a batch's conditions are asked before its records are installed, and not again
  kLockSetBlindly,            // whoever has found that nobody has a lock takes it
  kLockUnlockedBlindly,       // who unlocks removes the lock, whoever's it is by now
  kLockTurnUnrung,            // who leaves the queue wakes nobody
  kLockBellReadLate,          // a waiter reads its bell after it has looked whether its turn has come
  kLockRungOutside,           // who leaves rings the next one's bell after it has let go of the mutex
  // ordered index
  kIndexCopyUnfrozen,         // a node is copied while its words may still change
  kIndexLinkIntoFrozen,       // a leaf is linked into a word that was copied already
  kIndexUncounted,            // a leaf that dies again can be finished by the remover of its last death
  kIndexLookFirst,            // a remover looks into the table before it says so in the leaf
  kIndexScanSkipsDead,        // a scan takes a remover's probe for a removal
  kIndexScanPastItsPrefix,    // a scan within a prefix goes on with what lies beside it
  kIndexScanWithinTooLittle,  // a scan within a prefix takes the node where the prefix ends for one above it
  kIndexMetTooShort,          // the bytes that lead to a leaf's node are taken for all of its key
  kIndexHintWrong,            // a node's hints are never those of its leaves: slow, and no bug
  kScanTrustsHint,            // a scan takes the record that a node's hint leads to without a look at its key
  kScanStaysWhereItStood,     // a scan goes on in nodes that its guard holds no more, since a callback has written
  kScanMissByHint,            // hints are wrong, and a scan believes them that a key isn't there
  kLeafAfterLive,             // a key is in the table before the index has it
  kLeafHelperSkips,           // who finishes another's insert makes sure of no leaf
  kLeafUnconfirmed,           // an inserter doesn't look whether its leaf has stayed
  kLeafBeforeEmpty,           // a key's leaf is removed before its slot is emptied
  kLeafLeftOfKilled,          // an insert that was killed leaves its leaf
  // memory
  kSpanRelistedTwice,
  kBitmapLostFree,
  kBudgetCheckedAfter,
  kExtentHoldLost,
  kReserveNotKept,
  kUnlistWithoutSecondLook,   // a span is taken off its list although a block was freed there meanwhile
  kCountBeforeBits,           // freed blocks are counted before their bits are set
  kGiveRelaxed,               // a block's bit is set without publishing what its last user did
  kUndrainUnlisted,           // a span serves again, but stands on no list
  kDrainingServes,            // blocks are still handed out from a span that is being emptied
  // maintenance
  kChoresFromTheStart,        // whoever has time for few steps begins each time with the first of a round
  kChoresPartIsWhole,         // a part of a round that had nothing to do is taken for all of it
  // eviction
  kEvictUnjudged,             // a victim's key is removed although another record has taken its place
  kEvictKept,                 // an entry that is never to be evicted is a victim
  kEvictHeld,                 // a held record is a victim
  kEvictOtherIncarnation,     // an entry names its key although that has come back under another one
  kEvictExpiredInTurn,        // what has expired waits for its turn like the others
  kEvictEntryLost,            // an entry that could not go is not put back
  kEvictAsideUncounted,       // the entry before main's head isn't one of main's
  kStuckEpochEvicted,         // a write whose victims don't come back takes more of them
  kLightNotKept,              // size counts for nothing
  kEvictMainNeverFull,        // a gap in main lets a newcomer in unfought, however small
  kEvictStaysWhereItLeaves,   // what is gathered from a group that takes no more keys goes back to it
  kRoomEvictedFirst,          // a write evicts although others have free blocks in plenty
  kAccessNotInherited,        // an overwrite forgets what reads have earned
  kHitNotedBeside,            // a hit is noted for the slot beside the one that was found
  kHitOfWhoeverIsThere,       // a hit that was noted is counted for another key that has come into its slot
  kHitsAsTheLast,             // the last record of those that were hit says for all whether they are to be counted
  kRestsForEver,              // a store that grows again, or evicts, counts no hits
  kHitsForgotten,             // a victim is looked for before the hits that were noted are counted
  kEntryPushedTwice,          // an overwrite puts its key into a queue once more
  kRemovalToldTwice,
  kRemovalUntold,
  // the keeper
  kKeeperRestsWatching,       // it goes to rest although something will be due that nobody tells
  kKeeperRestsOwed,           // a turn that did something is followed by what follows one that didn't
  kKeeperNeverRests,          // it looks for ever where nothing will be due
  kKeeperNoPause,             // a turn that had not time enough is followed by the next at once
  // namespaces
  kNameTotalsUnasked,         // one is made although another was, meanwhile
  kNameLookedForFirst,        // whether it is there is asked before the totals are read
  kNameLinkedByStore,         // what a name means is linked over what another has linked
  kShareGivenTwice,           // who opens a namespace makes its queues without asking who else does
  kShareLinkedByStore,        // queues are put before a list that has got others meanwhile
  kShareNotMoved,             // what came before its namespace's queues is evicted with what has no share
  // page moves
  kMoveHeld,                  // a record that somebody holds is moved
  kMoveWithoutFreeze,         // a record is copied before its deadline is frozen
  kMoveFromStaleWord,         // the slot is swapped from a word that was read again after the copy
  kMoveVersioned,             // a record is moved away from the older versions below it
  kMoveUnstamped,             // a record is copied before its place among views is decided
  kMoveFreesOld,              // the old block is freed at once instead of retired
};

struct StdSync {
  template <class T>
  using Atomic = std::atomic<T>;
  static constexpr Mutant mutant = Mutant::kNone;
#if defined(__SANITIZE_THREAD__)
  static constexpr bool kWordwise = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
  static constexpr bool kWordwise = true;
#else
  static constexpr bool kWordwise = false;
#endif
#else
  static constexpr bool kWordwise = false;
#endif

#if defined(TERN_SYNC_POINTS)
  // Test builds of the whole library: the hook sees every named step and may park the calling thread.
  static inline std::atomic<void (*)(const char*)> hook{nullptr};
  static void point(const char* name) {
    if (auto* h = hook.load(std::memory_order_acquire)) h(name);
  }
#else
  static void point(const char*) noexcept {}
#endif
  static void plain_write(const void*, std::size_t) noexcept {}
  static void plain_read(const void*, std::size_t) noexcept {}
};

// A number that is changed a few times in a store's life and read by everybody. Whoever still reads the one before does no
// harm, so it is relaxed, and no policy sees it.
class Setting {
 public:
  operator std::uint64_t() const noexcept { return value_.load(std::memory_order_relaxed); }
  void operator=(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// True in the instantiation that carries the bug `m`.
template <class Sync>
constexpr bool planted(Mutant m) {
  return Sync::mutant == m;
}

}  // namespace tern::detail

#endif  // TERN_ALLOC_SYNC_H_
