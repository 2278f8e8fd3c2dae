/* touch.pml: PROTOCOLS.md rule Q5 (4): a deadline word X is frozen before its record is replaced. A touch moves an X that isn't, and
   replaces the record where it is; an increment and a batch's set with keep_ttl take the deadline over. So in whatever order they come,
   none loses the touch's deadline.
   RUN: ./run touch.pml "-DCOND -DI2 -DVW" "-DSAFETY"
     -DCOND the batch may fail (its record is a husk then)  -DI2 two increments  -DVW a view that freezes what it shows
   MUTATIONS: BUG_UNFROZEN (an increment reads X and doesn't freeze it), BUG_READ_FIRST (it reads X before it freezes it), BUG_BATCH_UNFROZEN
     (a batch installs over an X that may move), BUG_TOUCH_STORE (a touch stores X instead of swapping it from what it read), BUG_VIEW_UNFROZEN
     (with -DVW: a view shows an X that may move): caught.
   In the code: Inc = Commit::commit of a change that keeps the lifetime, Touch = Commit::touch, then commit; help = Batches::install and
   agree_on_lifetime; the view's freeze = Views::at. */
#define UNSET 0
#define FR 8
#define UND 0
#define DONE 1
#define ABORTED 2
/* records: 1 the first; 2, 5 increments'; 3 the batch's; 4 the touch's */
byte slot=1, X[6], link=0, D=UND;

inline freeze(r){ atomic{ X[r]=X[r]|FR } }
/* until the batch is decided, by its owner or whoever meets it */
inline help(){
  do
  :: atomic{ D!=UND -> break }
  :: else ->
     e=link; h=slot;
     if
     :: h==3 ->
        atomic{ d=X[link]&7 };
        atomic{ if :: X[3]==UNSET -> X[3]=d :: else fi };
#ifdef COND
        atomic{ if :: D==UND -> if :: D=DONE :: D=ABORTED fi :: else fi }
#else
        atomic{ if :: D==UND -> D=DONE :: else fi }
#endif
     :: else ->
        atomic{ if :: D!=UND -> break :: else fi };
        if
        :: e!=h -> atomic{ if :: link==e -> link=h :: else fi }
        :: else ->
#ifndef BUG_BATCH_UNFROZEN
           freeze(h);
#endif
           atomic{ if :: slot==h -> assert(D==UND); slot=3 :: else fi }
        fi
     fi
  od;
  atomic{ e=0; h=0; d=0 }
}
/* h: what stands in the slot; b: the record of it that counts */
inline look(){
  do
  :: atomic{ h=slot; if :: h==3 && D==UND -> skip :: else -> b=(h==3 && D==ABORTED -> link : h); break fi }; help()
  od
}
proctype Batch(){ byte e,h,d; help() }
proctype Inc(byte own){
  byte e,h,d,b;
  do
  :: look();
#ifdef BUG_READ_FIRST
     d=X[b]&7;
#endif
#ifndef BUG_UNFROZEN
     freeze(b);
#endif
#ifndef BUG_READ_FIRST
     d=X[b]&7;
#endif
     X[own]=d;
     atomic{ if :: slot==h -> slot=own; break :: else fi }
  od
}
proctype Touch(){
  byte e,h,d,b,x;
  do
  :: look(); x=X[b];
     if
     :: (x&FR)==0 ->
#ifdef BUG_TOUCH_STORE
        X[b]=2; break
#else
        atomic{ if :: X[b]==x -> X[b]=2; break :: else fi }
#endif
     :: else -> X[4]=2; atomic{ if :: slot==h -> slot=4; break :: else fi }
     fi
  od
}
#ifdef VW
proctype View(){ byte e,h,d,b,x; look();
#ifndef BUG_VIEW_UNFROZEN
  freeze(b);
#endif
  x=X[b]; assert(X[b]==x)
}
#endif
init {
  byte b;
  atomic{
    X[1]=1; run Batch(); run Inc(2); run Touch();
#ifdef I2
    run Inc(5);
#endif
#ifdef VW
    run View();
#endif
  };
  atomic{ _nr_pr==1 -> assert(D!=UND); b=(slot==3 && D==ABORTED -> link : slot); assert((X[b]&7)==2) }
}
