/* RUN: genmc --rc11 -- view_stamp.c  FOUND: text (acq) gives a moving view under RC11 and IMM; passes with C.load, slot load, fetch_add seq_cst,
 * or C.load seq_cst + a seq_cst fence in the guard.  TSO: no error. */
/* view_stamp.c : PROTOCOLS.md section D under RC11/IMM (GenMC): open() = fetch_add on C; a writer publishes (CAS slot), then reads C and stamps;
 * the view reads the key twice.  Text: stamp reads C with acquire, view reads the slot with acquire. */
#include <pthread.h>
#include <stdatomic.h>
#include <assert.h>
#ifndef MO_C
#define MO_C memory_order_acquire          /* t = C.load() of a stamp */
#endif
#ifndef MO_SLOT
#define MO_SLOT memory_order_acquire       /* view's load of the slot */
#endif
#ifndef MO_OPEN
#define MO_OPEN memory_order_acq_rel       /* C.fetch_add of open() */
#endif
static atomic_int C = 1, slot = 0, w0[2] = {1, 0};
static int stamp(int r){ int t = atomic_load_explicit(&w0[r], memory_order_acquire);
  if (t == 0) { int c = atomic_load_explicit(&C, MO_C); if (atomic_compare_exchange_strong(&w0[r], &t, c)) t = c; } return t; }
static void *writer(void *a){ int o = 0; (void)a; atomic_compare_exchange_strong(&slot, &o, 1); stamp(1); return 0; }
static int vread(int s){ int r = atomic_load_explicit(&slot, MO_SLOT); if (r == 1 && stamp(1) > s) r = 0; return r; }
static void *view(void *a){ (void)a; int s = atomic_fetch_add_explicit(&C, 1, MO_OPEN);
#ifdef GUARD_FENCE
  atomic_thread_fence(memory_order_seq_cst);   /* every read step enters a guard: exchange + fence */
#endif
  int x = vread(s), y = vread(s); assert(x == y); return 0; }
int main(void){ pthread_t t, u; pthread_create(&t,0,writer,0); pthread_create(&u,0,view,0); pthread_join(t,0); pthread_join(u,0); return 0; }
