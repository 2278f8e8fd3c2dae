// Record: one immutable version of one key, drawn to the bit.
//
//    0  w0    63..62 kind | 61 PUB | 60 NOLINK | 59 TOMB | 58 HAS_X | 57 HAS_EXT | 56 ABSENT | 55..48 klen8 | 47..0 stamp
//    8  link  63 CLOSED | 62 TRIMMED | 61 AFTER_EXPIRED | 60..58 type3 | 57..40 vlen18 | 39..0 offset of the older version
//   16  meta  63 ORPHAN | 62 KEEP | 61 LEFT | 60..50 holds11 | 49..48 access2 | 47..0 version
//   24  [X]   if HAS_X:   63 FROZEN | 62..20 deadline, ms of the store's clock | 19 MOVING | 18..17 0 | 16..0 number of its ticket
//       [EXT] if HAS_EXT: 63 EXTENT | 62 KEYREF | 61 KEY_IN_EXTENT | 60..48 span | 47..32 key length | 31..0 value length
//       [REF] if EXTENT or KEYREF: offset of the extent that holds the value (KEY_IN_EXTENT: after the key, which is
//             longer than the largest block), or of the record that holds the key
//       key bytes, value bytes
//       [TAGS] if EXT says so: 15..0 bytes of it all, [the entry's lease], then for each tag its length in a byte and its
//             bytes (tags.h)
//       [SIZE] of a record of a batch, while somebody listens, in the next whole word: of how many changes that batch consists
//
// 24 bytes before the key for the ordinary record, 32 with a deadline. All of w0, link, meta and X are atomic; EXT,
// REF, key and value are written before the record is published and never again. klen8 is the key's length, 255:
// see EXT. vlen18 is the value's length, all ones: see EXT. HAS_EXT is set if and only if one of the two is.
//
// kind      PENDING   written, its place among views not yet decided: whoever meets it stamps it (rule Q3). Where the
//                     stamp will be: the clock when an older record was looked at that it was made from, plus one; 0: none
//           STAMPED   decided
//           BATCH     an intent: written by a batch, whose descriptor is where the stamp will be (batch.h)
//           ABORTED   a husk: what is left of an intent that came to nothing, or of a record that was made from one that
//                     had died (points.h). What is below it counts.
//           TOMB and ABSENT together: an intent that asks and changes nothing, a husk whatever becomes of its batch
// PUB       told: its event is in the shard's ring, or need not be (events.h)
// AFTER_EXPIRED  it was put over a value that had expired and that nobody had removed yet: told with its event
// type      of a tomb: why the key went (TombReason)
// NOLINK    no view lies between the older version's stamp and this one, and that has no older one itself, so none can ever ask for it: `link` is
//           void for everybody. Set in the stamping compare-and-swap by the record's own writer and by nobody else,
//           who then retires the older version. Saves a replacing write two atomic operations on two lines.
// ABSENT    a loader said that there is no such thing: a miss for every read, remembered for get_or_load
// version   48 bits, grows with each change of the key, also across removals (shard.vfloor)
// holds     references that outlive a guard (HeldValue, cells of the event ring). The table's own reference is not counted:
//           reclamation looks at the holds only after the grace period, when no new one can appear, and hands a held
//           record to its last holder (ORPHAN).
// access    how often it was read since eviction last looked, up to 3. A read adds one by a swap that may fail, and only
//           while it is less than 3: then no count of holds is lost, nothing carries into them, and a hot record's line
//           stays shared. Where nothing is evicted every record is born with 3, so that reads need no other branch.
// MOVING    a touch is about to move the deadline, unless somebody looks at it first (Commit::touch)
// KEEP      never evicted (SetOptions::evictable = false)
// LEFT      an older version that somebody found to be needed by a view: it is counted, and its key is on the list of
//           keys to look at when a view ends. Or that was unhooked: whoever sets it first decides which (versions.h).
#ifndef TERN_ENGINE_RECORD_H_
#define TERN_ENGINE_RECORD_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "alloc/sync.h"
#include "engine/slot_word.h"

namespace tern::detail {

inline constexpr std::size_t kRecordHeaderBytes = 24;
inline constexpr std::size_t kShortKeyMax = 254;
inline constexpr std::uint64_t kShortValueMax = (std::uint64_t{1} << 18) - 2;
inline constexpr std::uint64_t kVersionMask = (std::uint64_t{1} << 48) - 1;
inline constexpr std::uint64_t kStampMask = (std::uint64_t{1} << 48) - 1;

// The first word.
class Stamp {
 public:
  enum class Kind : std::uint8_t { kPending = 0, kStamped = 1, kBatch = 2, kAborted = 3 };
  static constexpr std::uint64_t kTold = std::uint64_t{1} << 61;
  static constexpr std::uint64_t kNolink = std::uint64_t{1} << 60;
  static constexpr std::uint64_t kTomb = std::uint64_t{1} << 59;
  static constexpr std::uint64_t kHasX = std::uint64_t{1} << 58;
  static constexpr std::uint64_t kHasExt = std::uint64_t{1} << 57;
  static constexpr std::uint64_t kAbsent = std::uint64_t{1} << 56;
  static constexpr unsigned kKeyShift = 48;
  static_assert(2 + 1 + 1 + 4 + 8 + 48 == 64, "kind, PUB, NOLINK, flags, key length, stamp");

  constexpr explicit Stamp(std::uint64_t word) noexcept : word_(word) {}
  static constexpr Stamp pending(std::uint64_t flags, std::uint8_t klen8) noexcept {
    return Stamp(flags | std::uint64_t{klen8} << kKeyShift);
  }
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr Kind kind() const noexcept { return static_cast<Kind>(word_ >> 62); }
  constexpr bool stamped() const noexcept { return kind() == Kind::kStamped; }
  constexpr bool told() const noexcept { return (word_ & kTold) != 0; }
  constexpr bool nolink() const noexcept { return (word_ & kNolink) != 0; }
  constexpr bool tomb() const noexcept { return (word_ & kTomb) != 0; }
  constexpr bool has_x() const noexcept { return (word_ & kHasX) != 0; }
  constexpr bool has_ext() const noexcept { return (word_ & kHasExt) != 0; }
  constexpr bool absent() const noexcept { return (word_ & kAbsent) != 0; }
  constexpr std::uint8_t klen8() const noexcept { return static_cast<std::uint8_t>(word_ >> kKeyShift); }
  constexpr bool has_flags() const noexcept { return (word_ & (kTomb | kHasX | kHasExt | kAbsent)) != 0; }
  constexpr std::uint64_t stamp() const noexcept { return word_ & kStampMask; }
  constexpr bool batch() const noexcept { return kind() == Kind::kBatch; }
  constexpr bool aborted() const noexcept { return kind() == Kind::kAborted; }
  // BATCH or ABORTED: what it means isn't said by the record alone.
  constexpr bool intent() const noexcept { return word_ >> 63 != 0; }
  constexpr bool only_asks() const noexcept { return (word_ & (kTomb | kAbsent)) == (kTomb | kAbsent); }
  constexpr std::uint64_t descriptor() const noexcept { return word_ & kOffsetMask; }  // of a BATCH
  // STAMPED and no flag: what almost every read meets, decided by one compare.
  constexpr bool plain() const noexcept {
    constexpr std::uint64_t mask = std::uint64_t{3} << 62 | kTomb | kHasX | kHasExt | kAbsent;
    return (word_ & mask) == std::uint64_t{1} << 62;
  }

  // The same, or with a deadline and nothing else.
  constexpr bool plain_but_for_deadline() const noexcept { return Stamp(word_ & ~kHasX).plain(); }

  // As plain, and a key of this length in the header.
  constexpr bool plain_with_key(std::size_t key_size) const noexcept {
    constexpr std::uint64_t mask =
        std::uint64_t{3} << 62 | kTomb | kHasX | kHasExt | kAbsent | std::uint64_t{255} << kKeyShift;
    // In the upper sixteen bits: no constant of 64 bits is needed.
    static_assert((mask & kStampMask) == 0 && kKeyShift == 48);
    return (word_ >> kKeyShift & mask >> kKeyShift) == (std::uint64_t{1} << (62 - kKeyShift)) + key_size;
  }

  // PENDING: since when the older record may have died unseen that this one was made from, if it was (points.h).
  constexpr Stamp made_at(std::uint64_t clock) const noexcept {
    return Stamp((word_ & ~kStampMask & ~kNolink) | ((clock + 1) & kStampMask));
  }
  constexpr Stamp made_of_nothing() const noexcept { return Stamp(word_ & ~kStampMask & ~kNolink); }
  constexpr bool is_made() const noexcept { return (word_ & kStampMask) != 0; }
  constexpr std::uint64_t made_at() const noexcept { return (word_ & kStampMask) - 1; }
  // ... and that one has a deadline or a lease that this one hasn't. (NOLINK says nothing else before the stamp.)
  constexpr Stamp outliving() const noexcept { return Stamp(word_ | kNolink); }
  constexpr bool outlives() const noexcept { return nolink(); }

  // PENDING -> STAMPED
  constexpr Stamp stamped_at(std::uint64_t stamp) const noexcept {
    return Stamp((word_ & ~kStampMask & ~kNolink) | std::uint64_t{1} << 62 | (stamp & kStampMask));
  }
  constexpr Stamp without_link() const noexcept { return Stamp(word_ | kNolink); }
  // PENDING -> BATCH, before publication; BATCH -> STAMPED or ABORTED
  constexpr Stamp in_batch(std::uint64_t descriptor) const noexcept {
    return Stamp((word_ & kFlags) | std::uint64_t{2} << 62 | descriptor);
  }
  constexpr Stamp settled_at(std::uint64_t stamp) const noexcept {
    return Stamp((word_ & kFlags) | std::uint64_t{1} << 62 | (stamp & kStampMask));
  }
  constexpr Stamp given_up() const noexcept { return Stamp((word_ & kFlags & ~kNolink) | std::uint64_t{3} << 62); }
  constexpr Stamp with_flags(std::uint64_t flags) const noexcept { return Stamp(word_ | flags); }  // before publication

 private:
  static constexpr std::uint64_t kFlags = ~(std::uint64_t{3} << 62 | kStampMask);
  std::uint64_t word_;
};
static_assert(kOffsetBits <= 48, "a descriptor's offset fits where the stamp will be");

// Why a key went: the type of its tomb. An invalidation point is a tomb that lies in no slot; its key is its scope.
enum class TombReason : std::uint8_t { kDeleted, kExpired, kEvicted, kInvalidated };

// The second word.
class Link {
 public:
  static constexpr std::uint64_t kClosed = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kTrimmed = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kAfterExpired = std::uint64_t{1} << 61;
  static constexpr unsigned kLengthShift = 40;
  static constexpr unsigned kTypeShift = 58;
  static constexpr std::uint64_t kLengthMask = (std::uint64_t{1} << 18) - 1;
  static_assert(1 + 1 + 1 + 3 + 18 + kOffsetBits == 64, "CLOSED, TRIMMED, AFTER_EXPIRED, type, value length, offset");

  constexpr explicit Link(std::uint64_t word) noexcept : word_(word) {}
  static constexpr Link first(std::uint64_t vlen18) noexcept { return Link(vlen18 << kLengthShift); }
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr bool closed() const noexcept { return (word_ & kClosed) != 0; }
  constexpr std::uint64_t length18() const noexcept { return word_ >> kLengthShift & kLengthMask; }
  constexpr std::uint64_t older() const noexcept { return word_ & kOffsetMask; }
  static constexpr std::uint64_t kTypeMask = 7;
  constexpr unsigned type() const noexcept { return static_cast<unsigned>(word_ >> kTypeShift & kTypeMask); }
  constexpr bool after_expired() const noexcept { return (word_ & kAfterExpired) != 0; }

  constexpr Link of_type(unsigned type) const noexcept {  // before publication
    return Link((word_ & ~(kTypeMask << kTypeShift)) | (type & kTypeMask) << kTypeShift);
  }
  constexpr Link after_expired(bool yes) const noexcept {  // as above
    return Link(yes ? word_ | kAfterExpired : word_ & ~kAfterExpired);
  }
  constexpr TombReason reason() const noexcept { return static_cast<TombReason>(type()); }
  constexpr Link with_reason(TombReason reason) const noexcept {  // as above
    return of_type(static_cast<unsigned>(reason));
  }

  // Before publication; of an intent, until it is installed.
  constexpr Link over(std::uint64_t offset) const noexcept { return Link((word_ & ~kOffsetMask) | offset); }
  // The version behind was unhooked: what follows it is next. Only while not CLOSED.
  constexpr Link trimmed_to(std::uint64_t offset) const noexcept {
    return Link((word_ & ~kOffsetMask) | offset | kTrimmed);
  }

 private:
  std::uint64_t word_;
};

// The third word.
class Hold {
 public:
  static constexpr std::uint64_t kOne = std::uint64_t{1} << 50;
  static constexpr std::uint64_t kOrphan = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kKeep = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kLeft = std::uint64_t{1} << 61;
  static constexpr std::uint64_t kCountMask = (std::uint64_t{1} << 11) - 1;
  static constexpr std::uint64_t kAccessOne = std::uint64_t{1} << 48;
  static constexpr std::uint64_t kAccessMask = std::uint64_t{3} << 48;
  // Past it a reader gets a copy: room is left for those who add before they look.
  static constexpr std::uint64_t kHoldsMax = 1024;
  static_assert(1 + 1 + 1 + 11 + 2 + 48 == 64, "ORPHAN, KEEP, LEFT, holds, access, version");

  constexpr explicit Hold(std::uint64_t word) noexcept : word_(word) {}
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr std::uint64_t version() const noexcept { return word_ & kVersionMask; }
  constexpr std::uint64_t holds() const noexcept { return word_ >> 50 & kCountMask; }
  constexpr bool orphan() const noexcept { return (word_ & kOrphan) != 0; }
  constexpr bool keep() const noexcept { return (word_ & kKeep) != 0; }
  constexpr bool left() const noexcept { return (word_ & kLeft) != 0; }
  constexpr unsigned access() const noexcept { return static_cast<unsigned>(word_ >> 48 & 3); }
  constexpr bool access_is_full() const noexcept { return (word_ & kAccessMask) == kAccessMask; }
  constexpr Hold with_version(std::uint64_t version) const noexcept {
    return Hold((word_ & ~kVersionMask) | (version & kVersionMask));
  }
  constexpr Hold held_once_more() const noexcept { return Hold(word_ + kOne); }
  constexpr Hold orphaned() const noexcept { return Hold(word_ | kOrphan); }
  // Version and access bits alone: a copy is nobody's yet.
  constexpr Hold unheld() const noexcept { return Hold(word_ & ~(kCountMask * kOne | kOrphan | kLeft)); }
  constexpr Hold read_once_more() const noexcept { return Hold(word_ + kAccessOne); }  // while access < 3
  constexpr Hold with_access(unsigned access) const noexcept {
    return Hold((word_ & ~kAccessMask) | std::uint64_t{access} << 48);
  }
  constexpr Hold kept(bool keep = true) const noexcept { return Hold(keep ? word_ | kKeep : word_ & ~kKeep); }

 private:
  std::uint64_t word_;
};

// The deadline word.
class Deadline {
 public:
  static constexpr std::uint64_t kFrozen = std::uint64_t{1} << 63;
  static constexpr unsigned kShift = 20;
  static constexpr std::uint64_t kNever = (std::uint64_t{1} << 43) - 1;  // 278 years; has the word, but no deadline
  static constexpr std::uint64_t kMoving = std::uint64_t{1} << 19;
  static_assert(1 + 43 + 1 + 2 + 17 == 64, "FROZEN, deadline, MOVING, ticket");
  // Which of the wheel's tickets is the record's (wheel.h); 0: none is.
  static constexpr unsigned kTicketBits = 17;
  static constexpr std::uint64_t kTicketMask = (std::uint64_t{1} << kTicketBits) - 1;

  constexpr explicit Deadline(std::uint64_t word) noexcept : word_(word) {}
  static constexpr Deadline at(std::uint64_t ms, std::uint64_t ticket = 0) noexcept {
    return Deadline(ms << kShift | ticket);
  }
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr bool frozen() const noexcept { return (word_ & kFrozen) != 0; }
  constexpr bool moving() const noexcept { return (word_ & kMoving) != 0; }
  constexpr std::uint64_t ms() const noexcept { return word_ >> kShift & kNever; }
  constexpr bool never() const noexcept { return ms() == kNever; }
  // The word of an intent that is to take over the lifetime of what it replaces, until it is known what that is.
  static constexpr std::uint64_t kUnset = 0;
  constexpr std::uint64_t ticket() const noexcept { return word_ & kTicketMask; }
  constexpr Deadline thawed() const noexcept { return Deadline(word_ & ~(kFrozen | kMoving)); }  // of a copy
  constexpr Deadline with_ticket(std::uint64_t ticket) const noexcept { return Deadline((word_ & ~kTicketMask) | ticket); }
  constexpr Deadline moved_to(std::uint64_t ms) const noexcept { return at(ms, ticket()); }

 private:
  std::uint64_t word_;
};

// 13 bits for a length of time beside the deadline, and what it is:
//   12 STALE | 11..7 exponent | 6..0 mantissa       mantissa << exponent milliseconds, up to 8.6 years
// IDLE: the deadline is so long after the last access. STALE: the record is kept so long after its deadline, for readers
// who take a stale value. 0: neither.
class Span {
 public:
  static constexpr unsigned kMantissaBits = 7;
  static constexpr std::uint64_t kMantissaMax = (1u << kMantissaBits) - 1;
  static constexpr std::uint64_t kMsMax = kMantissaMax << 31;
  static constexpr unsigned kStale = 1u << 12;
  static_assert(1 + 5 + kMantissaBits == 13, "kind, exponent, mantissa");

  constexpr Span() noexcept = default;
  constexpr explicit Span(std::uint64_t bits) noexcept : bits_(static_cast<std::uint16_t>(bits & 0x1FFF)) {}
  // Rounded up, by less than a 63rd. `ms` is at most kMsMax; 0 is no span.
  static constexpr Span idle(std::uint64_t ms) noexcept { return of(ms, 0); }
  static constexpr Span stale(std::uint64_t ms) noexcept { return of(ms, kStale); }

  constexpr std::uint64_t bits() const noexcept { return bits_; }
  constexpr std::uint64_t idle_ms() const noexcept { return (bits_ & kStale) != 0 ? 0 : ms(); }
  constexpr std::uint64_t stale_ms() const noexcept { return (bits_ & kStale) != 0 ? ms() : 0; }

 private:
  static constexpr Span of(std::uint64_t ms, unsigned kind) noexcept {
    unsigned exponent = 0;
    std::uint64_t mantissa = ms;
    while (mantissa > kMantissaMax) {
      ++exponent;
      mantissa = (ms + (std::uint64_t{1} << exponent) - 1) >> exponent;
    }
    return ms == 0 ? Span() : Span(kind | exponent << kMantissaBits | mantissa);
  }
  constexpr std::uint64_t ms() const noexcept { return (bits_ & kMantissaMax) << (bits_ >> kMantissaBits & 31); }
  std::uint16_t bits_ = 0;
};
static_assert(Span::idle(127).idle_ms() == 127 && Span::idle(129).idle_ms() == 130 && Span::idle(255).idle_ms() == 256 &&
              Span::idle(Span::kMsMax).idle_ms() == Span::kMsMax && Span::stale(1).stale_ms() == 1 &&
              Span::stale(1).idle_ms() == 0 && Span::idle(0).bits() == 0);

// EXT, the lengths that don't fit the header. Its three flags also say whether there are tags, by the combinations that
// mean nothing else: KEY_IN_EXTENT without an extent (and KEYREF beside it: with a lease), KEYREF with one (perhaps with a lease).
class Ext {
 public:
  static constexpr std::uint64_t kExtent = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kKeyRef = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kKeyInExtent = std::uint64_t{1} << 61;
  static constexpr unsigned kSpanShift = 48;
  constexpr explicit Ext(std::uint64_t word) noexcept : word_(word) {}
  static constexpr Ext of(std::size_t key_size, std::uint64_t value_size, std::uint64_t flags) noexcept {
    return Ext(flags | std::uint64_t{key_size} << 32 | value_size);
  }
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr bool extent() const noexcept { return (word_ & kExtent) != 0; }
  constexpr bool key_ref() const noexcept { return (word_ & (kExtent | kKeyRef | kKeyInExtent)) == kKeyRef; }
  constexpr bool key_in_extent() const noexcept { return (word_ & (kExtent | kKeyInExtent)) == (kExtent | kKeyInExtent); }
  constexpr bool tags() const noexcept {
    return (word_ & (extent() ? kKeyRef : kKeyInExtent)) != 0;
  }
  // Whether the block of tags has to be asked for a lease.
  constexpr bool may_have_lease() const noexcept {
    return extent() ? (word_ & kKeyRef) != 0 : (word_ & (kKeyRef | kKeyInExtent)) == (kKeyRef | kKeyInExtent);
  }
  // The flags that say so beside `flags`.
  static constexpr std::uint64_t tags_with(std::uint64_t flags, bool lease) noexcept {
    return (flags & kExtent) != 0 ? kKeyRef : lease ? kKeyRef | kKeyInExtent : kKeyInExtent;
  }
  constexpr bool has_ref() const noexcept { return extent() || key_ref(); }
  constexpr std::size_t key_size() const noexcept { return word_ >> 32 & 0xFFFF; }
  constexpr std::uint64_t value_size() const noexcept { return word_ & 0xFFFFFFFF; }
  constexpr Span span() const noexcept { return Span(word_ >> kSpanShift); }

 private:
  std::uint64_t word_;
};

static_assert(Ext(Ext::kExtent | Ext::tags_with(Ext::kExtent, true)).tags() && !Ext(Ext::kExtent | Ext::kKeyRef).key_ref() &&
              Ext(Ext::tags_with(0, false)).tags() && !Ext(Ext::tags_with(0, false)).key_in_extent() &&
              !Ext(Ext::kKeyRef).tags() && !Ext(Ext::kExtent | Ext::kKeyInExtent).tags() && !Ext(0).tags());
static_assert(Ext(Ext::tags_with(0, true)).tags() && Ext(Ext::tags_with(0, true)).may_have_lease() &&
              !Ext(Ext::tags_with(0, false)).may_have_lease() && !Ext(Ext::kKeyRef).may_have_lease() &&
              !Ext(Ext::tags_with(0, true)).has_ref() && Ext(Ext::kKeyRef).has_ref());

// Offsets of what follows the header, for every combination.
struct RecordLayout {
  std::size_t ext_at = 0, ref_at = 0, key_at = 0, value_at = 0, bytes = 0;
  static constexpr std::size_t kXAt = kRecordHeaderBytes;

  // `key_bytes` and `value_bytes` are those that lie in the record itself.
  static constexpr RecordLayout of(bool x, bool ext, bool ref, std::size_t key_bytes,
                                   std::uint64_t value_bytes) noexcept {
    RecordLayout l;
    l.ext_at = kRecordHeaderBytes + (x ? 8 : 0);
    l.ref_at = l.ext_at + (ext ? 8 : 0);
    l.key_at = l.ref_at + (ref ? 8 : 0);
    l.value_at = l.key_at + key_bytes;
    l.bytes = l.value_at + value_bytes;
    return l;
  }
};
//                                       X      EXT    REF
static_assert(RecordLayout::of(false, false, false, 20, 64).key_at == 24);
static_assert(RecordLayout::of(true, false, false, 20, 64).key_at == 32);
static_assert(RecordLayout::of(false, true, false, 20, 64).key_at == 32);
static_assert(RecordLayout::of(true, true, false, 20, 64).key_at == 40);
static_assert(RecordLayout::of(false, true, true, 20, 64).key_at == 40);
static_assert(RecordLayout::of(true, true, true, 20, 64).key_at == 48);
static_assert(RecordLayout::of(false, false, false, 20, 64).bytes == 108,
              "20-byte key and 64-byte value: 24 bytes of header and no more");

template <class Sync>
struct Record {
  using Word = typename Sync::template Atomic<std::uint64_t>;

  Word w0;
  Word link;
  Word meta;

  // The words are read with seq_cst inside a guard (see epoch.h: an announcement orders only seq_cst operations).
  Stamp stamp_word() const noexcept { return Stamp(w0.load(std::memory_order_seq_cst)); }  // [stamp] seq_cst
  Link link_word() const noexcept { return Link(link.load(std::memory_order_seq_cst)); }   // [unhook] seq_cst
  Hold hold_word() const noexcept { return Hold(meta.load(std::memory_order_acquire)); }   // [version] acquire

  // As it is shown to somebody: a touch that is under way doesn't move it any more.
  [[gnu::always_inline]] Deadline shown_deadline() noexcept {
    const Deadline d(x().load(std::memory_order_seq_cst));  // [deadline] seq_cst
    if (!d.moving() || d.frozen() || planted<Sync>(Mutant::kTouchShown)) [[likely]] return d;
    return Deadline(x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst) | Deadline::kFrozen);  // [deadline] seq_cst
  }

  Word& x() noexcept { return *reinterpret_cast<Word*>(bytes() + RecordLayout::kXAt); }
  const Word& x() const noexcept { return *reinterpret_cast<const Word*>(bytes() + RecordLayout::kXAt); }
  Ext ext(Stamp s) const noexcept { return Ext(plain_word(kRecordHeaderBytes + (s.has_x() ? 8 : 0))); }
  std::uint64_t ref(Stamp s) const noexcept { return plain_word(kRecordHeaderBytes + (s.has_x() ? 16 : 8)); }

  char* bytes() noexcept { return reinterpret_cast<char*>(this); }
  const char* bytes() const noexcept { return reinterpret_cast<const char*>(this); }

  void put_plain_word(std::size_t at, std::uint64_t value) noexcept {
    std::memcpy(bytes() + at, &value, sizeof value);
  }
  std::uint64_t plain_word(std::size_t at) const noexcept {
    std::uint64_t value;
    std::memcpy(&value, bytes() + at, sizeof value);
    return value;
  }
};
static_assert(sizeof(Record<StdSync>) == kRecordHeaderBytes, "three words, then what the flags announce");

}  // namespace tern::detail

#endif  // TERN_ENGINE_RECORD_H_
