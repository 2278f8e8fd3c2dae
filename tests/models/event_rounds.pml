/* engine/event_rounds.h: what everybody who listens has read is given up, and nothing else. One ring, as a count of what was told
   (tail) and of what was given up (floor); two writers; a listener that stays, and one that comes and goes (-DGOES) or stays.

   n        the number of the round, odd while one is on; a, who has arrived in it: one word, moved by one swap
   mark     a tail of before, and the number that was read after it: one word
   here     how many listen

   -DONE: one writer; -DTOLD, -DPOLLS: how often each tells and polls
   -DHELPS (with ONE): one listener; somebody comes in, finds a position filled whose tail wasn't moved, and is at its record before he goes. What is
   given up comes free at once (free) if nobody is inside who was so when the round was found closed, else after a grace period

   BUG_LATE     a writer reads the number before the tail
   BUG_UNREAD   a listener arrives in a round that was opened after it began to read
   BUG_EARLY    a round that was on when the tail was noted is taken for a later one
   BUG_ATONCE   what is given up comes free at once, whoever is inside */
#ifndef TOLD
#define TOLD 3
#endif
#ifndef POLLS
#define POLLS 3
#endif
#ifdef HELPS
#define LISTENERS 1
#else
#define LISTENERS 2
#endif
byte tail=0, floor=0, n=2, a=0, here=LISTENERS; /* a first round is over: the first who tells notes */
byte markn=0, markt=0;
byte pos[2]; bit listens[2];
#ifdef HELPS
byte filled=0, free=0, visit=0; /* visit: odd while the helper is inside */
#endif

#ifdef BUG_EARLY
#define DUE(now,noted) ((now) >= (noted)+2)
#else
#define DUE(now,noted) ((now) >= (noted)+2+((noted)%2))
#endif

inline judge() {
  assert(!listens[0] || pos[0] >= floor);
  assert(!listens[1] || pos[1] >= floor)
}

proctype Writer() {
  byte t, r, mn, mt, i;
#ifdef HELPS
  byte moment, readt;
  readt = 0;
#endif
  i = 0;
  do
  :: i < TOLD ->
#ifdef HELPS
     t = tail;
     filled = t + 1;
     atomic { if :: tail == t -> tail = t + 1 :: else fi };
     r = n;
#elif defined(BUG_LATE)
     r = n;
     atomic { t = tail; tail = t + 1 };
#else
     atomic { t = tail; tail = t + 1 };
     r = n;
#endif
     atomic { mn = markn; mt = markt };
     if
     :: DUE(r, mn) ->
        atomic {
          if
          :: markn == mn && markt == mt -> markn = r; markt = t
          :: else -> mt = 0
          fi
        };
#ifdef HELPS
        moment = visit;
        readt = mt
     :: else
     fi;
     if
     :: readt > floor ->
#ifdef BUG_ATONCE
        free = readt;
#else
        if :: moment % 2 == 0 || visit != moment -> free = readt :: else fi;
#endif
        atomic { floor = readt; judge() }
#else
        atomic { if :: mt > floor -> floor = mt; judge() :: else fi }
#endif
     :: else
     fi;
     i++
  :: else -> break
  od
}

/* One poll: number, everything there is, the end. */
inline poll(me) {
  r0 = n;
  pos[me] = tail;
  atomic { wn = n; wa = a };
  if
  :: wn % 2 == 0 -> atomic { if :: n == wn && a == wa -> n = wn + 1; a = 0 :: else fi }
#ifdef BUG_UNREAD
  :: wn % 2 == 1 ->
#else
  :: wn % 2 == 1 && wn == r0 ->
#endif
     count = here;
     again = 1;
     do
     :: again ->
        if
        :: arrived != wn && wa + 1 >= count -> tn = wn + 1; ta = 0
        :: arrived != wn && wa + 1 < count -> tn = wn; ta = wa + 1
        :: arrived == wn && wa >= count -> tn = wn + 1; ta = 0
        :: else -> break
        fi;
        atomic {
          if
          :: n == wn && a == wa -> n = tn; a = ta; arrived = wn; again = 0
          :: else -> if :: n == wn -> wa = a :: else -> again = 0 fi
          fi
        }
     :: else -> break
     od
  :: else
  fi
}
inline leave(me) {
  again = 1;
  do
  :: again ->
     atomic { wn = n; wa = a };
     if
     :: arrived % 2 == 1 && wn == arrived -> atomic { if :: n == wn && a == wa -> a = wa - 1; again = 0 :: else fi }
     :: else -> again = 0
     fi
  :: else -> break
  od;
  atomic { listens[me] = 0; here-- }
}

proctype Listener(byte me; bit goes) {
  byte r0, wn, wa, tn, ta, count, arrived, i;
  bit again;
  arrived = 0;
  i = 0;
  do
  :: i < POLLS ->
     poll(me);
     if
     :: goes && i % 2 == 1 ->
        leave(me);
        here++;
        arrived = 0;
        atomic { pos[me] = tail; listens[me] = 1 }
     :: else
     fi;
     i++
  :: else -> break
  od
}

#ifdef HELPS
proctype Helper() {
  byte p;
  do
  :: visit < 4 ->
     visit++;
     p = tail;
     if
     :: filled > p -> assert(free <= p); atomic { if :: tail == p -> tail = p + 1 :: else fi }
     :: else
     fi;
     visit++
  :: else -> break
  od
}
#endif

init {
  atomic {
    listens[0] = 1; listens[1] = LISTENERS - 1;
    run Writer();
#ifndef ONE
    run Writer();
#endif
    run Listener(0, 0);
#ifdef HELPS
    run Helper()
#elif defined(GOES)
    run Listener(1, 1)
#else
    run Listener(1, 0)
#endif
  }
}
