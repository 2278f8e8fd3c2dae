/* epoch_reclaim.c : PROTOCOLS.md section C under a weak memory model (GenMC, RC11 and IMM).
 * Reader(s): enter (load G; announce: exchange or store), read slot, touch record, leave.
 * Writer W : unlinks record 0 from the slot (CAS sc), reads G after it (e_r), later frees when the condition holds.
 * Advancers: e=G; scan all announce words; CAS(G,e,e+1).
 * free = plain (non-atomic) write to the record's payload: a reader's plain read that is not ordered before it is a data race,
 *        and reading the poison is an assertion failure.
 * RUN: genmc --rc11 (or --imm, --tso) -- -DSOME_DEFINITION epoch_reclaim.c
 * FOUND: as written (exchange sc, slot load acq, scan acq) use-after-free under RC11 and IMM, none under TSO.  Passes with slot loads AND scan seq_cst,
 *        or a seq_cst fence after the exchange AND a seq_cst scan.  +3 is tight with a relaxed load of G and no fence; +2 suffices with the fence or G.load(sc).
 *        -DUNCOND -DFREE_BY_SCAN -DDIST=1: G advanced without looking, only the free looks: correct with fence or G.load(sc).
 * MUTATIONS: ANN_STORE relaxed, MO_LEAVE relaxed, DIST=1 (and 2, 0), scan acq: all caught. */
#include <pthread.h>
#include <stdatomic.h>
#include <assert.h>
#include <stdbool.h>
#include <genmc.h>

#ifndef NADV
#define NADV 3            /* epochs to advance */
#endif
#ifndef DIST
#define DIST 3            /* free at e_r + DIST */
#endif
#ifndef NREAD
#define NREAD 1
#endif
#ifndef ROUNDS
#define ROUNDS 1          /* times a reader enters and leaves */
#endif
/* memory orders, each overridable */
#ifndef MO_G_RD
#define MO_G_RD memory_order_relaxed      /* reader's load of G (text: rlx) */
#endif
#ifndef MO_ANN
#define MO_ANN memory_order_seq_cst       /* announce exchange */
#endif
#ifndef MO_SLOT
#define MO_SLOT memory_order_acquire      /* reader's load of the slot */
#endif
#ifndef MO_LEAVE
#define MO_LEAVE memory_order_release
#endif
#ifndef MO_SCAN
#define MO_SCAN memory_order_acquire      /* advancer's scan of announce words (text: acq) */
#endif
#ifndef MO_UNLINK
#define MO_UNLINK memory_order_seq_cst
#endif
#ifndef MO_ER
#define MO_ER memory_order_seq_cst        /* e_r = G.load(sc) */
#endif
#ifndef MO_ADV
#define MO_ADV memory_order_seq_cst       /* cas(G,e,e+1) */
#endif
#ifndef MO_GADV
#define MO_GADV memory_order_seq_cst      /* advancer's e=G */
#endif

static atomic_uint G = 4;                  /* epoch; 0 in announce = idle */
static atomic_uint ann[NREAD];
static atomic_int slot = 0;                /* record published */
static int data[2] = { 1, 1 };             /* plain payload; 99 = freed/reused */
#ifdef TWOSTEP_SLOT
#endif

static void *reader(void *a)
{
    int i = (int)(long)a;
    for (int r = 0; r < ROUNDS; r++) {
        unsigned g = atomic_load_explicit(&G, MO_G_RD);
#ifdef ANN_STORE
        atomic_store_explicit(&ann[i], g, MO_ANN);
#else
        atomic_exchange_explicit(&ann[i], g, MO_ANN);
#endif
#ifdef ANN_FENCE
        atomic_thread_fence(memory_order_seq_cst);
#endif
        int x = atomic_load_explicit(&slot, MO_SLOT);
        int d = data[x];
        assert(d != 99);
        atomic_store_explicit(&ann[i], 0, MO_LEAVE);
    }
    return 0;
}

static bool try_advance(void)
{
#ifdef UNCOND          /* advance without looking at anyone; only the free looks */
    atomic_fetch_add_explicit(&G, 1, memory_order_seq_cst); return true;
#endif
    unsigned e = atomic_load_explicit(&G, MO_GADV);
#ifdef SCAN_FENCE
    atomic_thread_fence(memory_order_seq_cst);
#endif
    for (int i = 0; i < NREAD; i++) {
#ifdef SCAN_RMW
        unsigned v = atomic_fetch_add_explicit(&ann[i], 0, memory_order_seq_cst);
#else
        unsigned v = atomic_load_explicit(&ann[i], MO_SCAN);
#endif
        if (v != 0 && v != e) return false;
    }
    return atomic_compare_exchange_strong_explicit(&G, &e, e + 1, MO_ADV, memory_order_relaxed);
}

/* min over announced epochs (idle: infinity) and free if every one >= e_r + DIST and G itself is */
static void *writer(void *a)
{
    int o = 0;
    (void)a;
    bool ok = atomic_compare_exchange_strong_explicit(&slot, &o, 1, MO_UNLINK, memory_order_relaxed);
    assert(ok);
    unsigned er = atomic_load_explicit(&G, MO_ER);
#ifndef SEPARATE_ADV
    for (int i = 0; i < NADV; i++)
        if (!try_advance()) return 0;
#endif
#ifdef FREE_BY_SCAN
    /* text: "needs min over slots(epoch) >= e_r+3 (or idle)": no condition on G */
 #ifdef SCAN_FENCE
    atomic_thread_fence(memory_order_seq_cst);
 #endif
    for (int i = 0; i < NREAD; i++) {
 #ifdef SCAN_RMW
        unsigned v = atomic_fetch_add_explicit(&ann[i], 0, memory_order_seq_cst);
 #else
        unsigned v = atomic_load_explicit(&ann[i], MO_SCAN);
 #endif
        if (v != 0 && v < er + DIST) return 0;
    }
#else
    unsigned g = atomic_load_explicit(&G, memory_order_acquire);
    if (g < er + DIST) return 0;
#endif
    data[0] = 99;
    return 0;
}
static void *adv(void *a) { (void)a; for (int i = 0; i < NADV; i++) try_advance(); return 0; }

int main(void)
{
    pthread_t t[NREAD], w, v;
    for (long i = 0; i < NREAD; i++) pthread_create(&t[i], 0, reader, (void *)i);
    pthread_create(&w, 0, writer, 0);
#ifdef SEPARATE_ADV
    pthread_create(&v, 0, adv, 0);
#endif
    for (int i = 0; i < NREAD; i++) pthread_join(t[i], 0);
    pthread_join(w, 0);
#ifdef SEPARATE_ADV
    pthread_join(v, 0);
#endif
    return 0;
}
