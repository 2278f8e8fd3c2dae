/* leaf_table.pml: PROTOCOLS.md section G (leaf protocol of the ordered index) against the table (one slot of one key K) with tombstones,
   stamps, a view, a kept-queue drain, and a killer of tentative entries (growth / priority kill).
   RUN: ./run leaf_table.pml "-DPRES -DVW -DONEINS" "-DSAFETY -DHC4"     (2 inserters, 2 removers by default)
     -DEXPECT as engine/leaves.h has it: the owner makes sure of a leaf before TENT and only looks at that one's state after it
     -DPRES key present at first  -DVW a view  -DKILL a killer of TENT  -DONEINS / -DONEDEL / -DNODEL fewer  -DNOLEAK assert absent => no leaf  -DCLEAN corrected removal
   MUTATIONS: BUG_NOCTR, BUG_LOOKUP_FIRST, BUG_ENSURE_FIRST, BUG_HELPER_NOLEAF (-DVW -DNODEL), BUG_UNCONFIRMED (-DEXPECT), BUG_ITER_SKIP_DEAD (-DPRES -DVW -DONEINS): all caught.
   FOUND: iteration must count DEAD leaves; leaves of absent keys stay for ever without -DCLEAN (leak).  CLEAN: no error in 41 M states, not exhausted.
*/
#define E 0
#define TENT(r) (16+(r))
#define LIVE(r) (32+(r))
#define REC(v) ((v)&15)
#define IST(v) ((v)>=16 && (v)<32)
#define ISL(v) ((v)>=32)
#define TOMB(r) ((r)>=8)          /* records 1..7 values, 8..15 tombstones */
#define SL(x) ((x)&3)             /* leaf state: 0 LIVE 1 DEAD 2 REMOVED; ctr = x>>2 */
#define LV 0
#define DD 1
#define RM 2
byte slot=E; byte lp=0; byte leaf[7]; byte nl=0;
byte w0[16]; byte link[16]; byte C=1; byte act=0;
inline stamp(r0){ 
  if :: atomic{ w0[r0]==0 -> c=C }; atomic{ if :: w0[r0]==0 -> w0[r0]=c :: else fi; c=0 }
     :: atomic{ w0[r0]!=0 -> skip } fi
}
inline ensure_leaf(){
  do
  :: atomic{ p=lp; if :: p!=0 -> x=leaf[p] :: else fi };   /* pointer and state read together when LIVE: state re-read below by the CAS */
     if
     :: p==0 -> atomic{ if :: lp==0 -> nl++; assert(nl<7); leaf[nl]=LV; lp=nl; p=99 :: else fi };
        if :: p==99 -> break :: else fi
     :: p!=0 && SL(x)==LV -> break
     :: p!=0 && SL(x)==DD -> atomic{ if :: leaf[p]==x -> leaf[p]=(x&252)|LV; p=99 :: else fi };
        if :: p==99 -> break :: else fi
     :: else -> atomic{ if :: lp==p -> nl++; assert(nl<7); leaf[nl]=LV; lp=nl; p=99 :: else fi };
        if :: p==99 -> break :: else fi
     fi
  od;
  atomic{ p=0; x=0 }
}
#ifdef BUG_NOCTR
#define NEXT 0
#else
#define NEXT 4
#endif
inline remove_leaf(){
  ok=1;
  do :: !ok -> break
  :: else -> ok=0;
  atomic{ p=lp };
  if
  :: p==0 -> skip
  :: else ->
#ifdef BUG_LOOKUP_FIRST
     atomic{ v=slot };
#endif
     atomic{ x=leaf[p]; if :: SL(x)!=LV -> p=0; x=0 :: else fi };
     if
     :: p==0 -> skip
     :: else ->
        atomic{ if :: leaf[p]==x -> x=(x&252)+NEXT+DD; leaf[p]=x :: else x=255 fi };
        if
        :: x==255 -> skip
        :: else ->
#ifndef BUG_LOOKUP_FIRST
           atomic{ v=slot };
#endif
           if
           :: v!=E -> atomic{ if :: leaf[p]==x -> leaf[p]=(x&252)|LV; ok=1 :: else -> ok=0 fi };
#ifdef CLEAN
              /* corrected: who gave the leaf back looks again */
              if :: ok -> atomic{ v=slot; ok=(v==E) } :: else fi
#else
              ok=0
#endif
           :: else -> atomic{ if :: leaf[p]==x -> leaf[p]=(x&252)|RM; x=254 :: else fi };
              if :: x==254 -> atomic{ if :: lp==p -> lp=0 :: else fi } :: else fi
           fi
        fi
     fi
  fi;
  atomic{ p=0; x=0; v=0 }
  od
}
/* make tentative word tv LIVE (owner or helper); ok=1: we did it */
inline finalise_tent(tv){
#ifdef BUG_HELPER_NOLEAF
  if :: REC(tv)==me -> ensure_leaf() :: else fi;
#else
 #ifdef EXPECT
  #ifdef BUG_UNCONFIRMED
  if :: REC(tv)==me && q!=0 -> skip :: else -> ensure_leaf() fi;
  #else
  if :: REC(tv)==me && q!=0 && SL(leaf[q])==LV -> skip :: else -> ensure_leaf() fi;
  #endif
 #else
  #ifndef BUG_ENSURE_FIRST
  ensure_leaf();
  #endif
 #endif
#endif
  atomic{ if :: slot==tv -> slot=LIVE(REC(tv)); ok=1 :: else ok=0 fi };
#ifdef CLEAN
  /* corrected: who ensured a leaf and then did not make the entry LIVE looks whether the key is there, and if not removes the leaf */
  if :: ok==0 -> atomic{ v=slot }; if :: v==E -> remove_leaf() :: else v=0 fi :: else fi;
#endif
}
proctype Ins(byte me){
  byte v,p,x,c,w,q; bit ok; byte t=0;
  do
  :: t==2 -> break
  :: else ->
#ifdef BUG_ENSURE_FIRST
     ensure_leaf();
#endif
     atomic{ w=slot };
     if
     :: w==E ->
#ifdef EXPECT
        ensure_leaf(); q=lp;
#endif
        atomic{ if :: slot==E -> slot=TENT(me); ok=1 :: else ok=0 fi };
        if :: ok -> finalise_tent(TENT(me));
                    if :: ok -> stamp(me); break
                       :: else -> atomic{ w=slot; if :: (w==LIVE(me)) -> ok=1 :: else t++ ; me=me+1 fi };  /* helped, or killed: fresh record */
                          if :: ok -> stamp(me); break :: else fi
                    fi
           :: else
#ifdef EXPECT
              -> atomic{ v=slot }; if :: v==E -> remove_leaf() :: else v=0 fi
#endif
           fi
     :: IST(w) -> finalise_tent(w)
     :: ISL(w) && TOMB(REC(w)) -> stamp(REC(w)); link[me]=REC(w);
        atomic{ if :: slot==w -> slot=LIVE(me); ok=1 :: else ok=0 fi };
        if :: ok -> stamp(me); break :: else link[me]=0 fi
     :: else -> stamp(REC(w)); break            /* present: add fails (after finalising the head) */
     fi;
     w=0
  od
}
/* tombstone T at the head: trim it, and if nothing below is needed, empty the slot and remove the leaf */
inline drain(T){
   atomic{ y=link[T] };
   if :: y!=0 -> atomic{ need=0; if :: (act>=100 && act-100<w0[T]) || (act>0 && act<100 && w0[y]<=act && act<w0[T]) -> need=1 :: else fi };
#ifdef BUG_REGISTRY
         need=0;
#endif
         if :: need==0 -> atomic{ if :: link[T]==y -> link[T]=0 :: else fi } :: else fi
      :: else fi;
   atomic{ need=0; y=link[T] };
   if :: y==0 -> atomic{ if :: slot==LIVE(T) -> slot=E; ok=1 :: else ok=0 fi };
         if :: ok -> remove_leaf() :: else fi
      :: else fi;
   y=0
}
proctype Del(byte me){
  byte v,p,x,c,w,y; bit ok, need;
  do
  :: atomic{ w=slot };
     if
     :: ISL(w) && !TOMB(REC(w)) -> stamp(REC(w)); link[me]=REC(w);
        atomic{ if :: slot==w -> slot=LIVE(me); ok=1 :: else ok=0 fi };
        if :: ok -> stamp(me); drain(me); break :: else link[me]=0 fi
     :: else -> break      /* absent */
     fi;
     w=0
  od
}
proctype Killer(){ byte w; atomic{ w=slot }; if :: IST(w) -> atomic{ if :: slot==w -> slot=E :: else fi } :: else fi }
inline vget(){
  atomic{ w=slot };
  if :: ISL(w) -> g=REC(w);
        do :: g==0 -> break
           :: else -> stamp(g); if :: atomic{ w0[g]<=s -> break } :: atomic{ else -> g=link[g] } fi
        od
     :: else -> g=0 fi
}
proctype View(){
  byte v,p,x,c,w,y,g,s; bit ok, need, f;
  atomic{ c=C }; atomic{ act=100+c; c=0 }; atomic{ s=C; C=C+1 }; act=s;
  atomic{ p=lp };
  if :: p!=0 -> atomic{ x=leaf[p] };
#ifdef BUG_ITER_SKIP_DEAD
        if :: SL(x)==LV -> f=1 :: else fi
#else
        if :: SL(x)!=RM -> f=1 :: else fi
#endif
     :: else fi;
  atomic{ p=0; x=0 };
  vget();
  assert(f || g==0 || TOMB(g));
  atomic{ g=0; f=0; w=0 };
  act=0;
  /* close: drain the kept queue */
  atomic{ w=slot }; if :: ISL(w) && TOMB(REC(w)) -> stamp(REC(w)); y=REC(w); w=y; drain(w) :: else fi
}
init { atomic{
#ifdef PRES
   slot=LIVE(7); w0[7]=1; nl=1; leaf[1]=LV; lp=1;
#endif
   run Ins(1);
#ifndef NODEL
   run Del(8);
 #ifndef ONEDEL
   run Del(9);
 #endif
#endif
#ifndef ONEINS
   run Ins(3);
#endif
#ifdef KILL
   run Killer();
#endif
#ifdef VW
   run View();
#endif
  };
  atomic{ _nr_pr==1 ->
    assert(!IST(slot));
    assert(!(ISL(slot) && !TOMB(REC(slot))) || (lp!=0 && SL(leaf[lp])==LV));      /* present -> LIVE leaf */
    assert(!(ISL(slot)) || (lp!=0 && SL(leaf[lp])==LV));                          /* also for a tombstone that stays */
#ifdef NOLEAK
    assert(!(slot==E) || lp==0)
#endif
  }
}
