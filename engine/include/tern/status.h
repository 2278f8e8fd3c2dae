// What a call answers when it can't do what was asked: one enumeration for the whole library.
//
// A miss in a read is an answer, not an error (see lookup.h). Bad input changes nothing. Nothing here allocates.
#ifndef TERN_STATUS_H_
#define TERN_STATUS_H_

#include <cstdint>

#if defined(_WIN32)
#define TERN_API
#else
#define TERN_API __attribute__((visibility("default")))
#endif

namespace tern {

enum class Status : std::uint32_t {
  kOk = 0,
  kNotFound,         // the key is absent or expired
  kExists,           // `if_absent` met a live key
  kMismatch,         // `if_version` met another version
  kWrongType,        // the value is no number
  kOutOfRange,       // a number or a time left its range; nothing was changed
  kTooLarge,         // key, value or batch past its limit; Error::field says which
  kInvalidKey,       // a key of no bytes
  kInvalidArgument,  // an option or argument is malformed; Error::field names it
  kOutOfMemory,      // the budget is full and room could not be made within this call's bound: free or resize
  kViewExpired,      // the view was ended to make room: open another
  kCompacted,        // the resume point is gone: start from a view
  kClosed,           // the store was closed, or this is a forked child
  kCorrupt,          // stored bytes are damaged
  kIo,               // the operating system refused
  kUnsupported,      // this backend or build can't
  kUnavailable,      // a backend can't be reached
  kTimedOut,
  kCancelled,
  kConflict,         // others changed the key at each of the bounded number of attempts, or a batch's condition failed
};

// Which argument or option an error is about.
enum class Field : std::uint16_t {
  kNone = 0,
  kKey,
  kValue,
  kTtl,
  kIdle,
  kKeys,         // the number of keys of a multi-key call
  kAnswers,      // the place for the answers is smaller than the number of keys
  kConditions,   // conditions of one call that contradict each other
  kBatch,        // the number of operations of a batch
  kReturnPrevious,
  kDelta,
  kStride,
  kJitterPercent,
  kMemoryBytes,
  kMemoryBytesMax,
  kMemory,       // the caller's own region
  kShardCount,
  kEntriesMax,
  kEntriesExpected,
  kShrinkOnPressure,
  kShrinkFloorBytes,
  kValueBytesMax,
  kHeldBytesMax,
  kMaxBatch,
  kViewBytesMax,
  kRingBytes,
  kKinds,        // of changes: none, or unknown ones
  kResume,       // no token of a watch like this
  kGather,       // of a watch: together with coalesce
  kInterval,     // of a watch: less than nothing, or with a descriptor
  kProgress,     // of a watch: less than nothing
  kWatches,      // more listen than may
  kTags,         // of an entry
  kLease,        // it has ended, or never was
  kLeases,       // as many are there as may be
  kLock,         // its name; of a wait, the lock that didn't come
  kOwner,        // what is shown of a lock's owner
  kToken,        // the lock isn't held with it, or not any more
  kFence,        // as above, of a write that depends on it
  kViews,        // more views are open than there may be
  kClock,
  kName,
  kWeigher,
  kFull,
  kPattern,
  kSeparator,
  kRegex,
  kMaintenance,
  kHashSeed,
  kPath,
  kKeep,         // generations of a snapshot
  kEvery,        // the time between periodic saves
  kThreads,
  kNamespaces,   // as many as there may be
  kFoldCase,
  kCheckPaths,
  kNormalisePaths,
  kSharePercent,
  kCodec,        // of a snapshot's blocks
  kScanThreads,
  kSizeAware,
  kMetadata,     // of an entry
};

// Static, lower-case, the spelling of the documentation: "out_of_memory", "memory_bytes".
TERN_API const char* status_name(Status status) noexcept;
TERN_API const char* field_name(Field field) noexcept;

struct Error {
  Status status = Status::kOk;
  Field field = Field::kNone;
  std::uint16_t position = 0;  // in a pattern or an expression: the byte that is to blame

  friend constexpr bool operator==(Error a, Error b) noexcept {
    return a.status == b.status && a.field == b.field && a.position == b.position;
  }
};
static_assert(sizeof(Error) == 8, "a Result of a small value travels in two registers");

}  // namespace tern

#endif  // TERN_STATUS_H_
