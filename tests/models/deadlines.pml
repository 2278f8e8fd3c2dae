/* deadlines.pml: a key whose time comes, and what is made from it meanwhile (engine/versions.h: decided, has_gone, state_of; commit.h:
   end_for_good, is_still). Whoever has missed it misses it from then on, unless somebody sets it anew, which nobody does here.
   Records: 1 due at DUE; 2 made from what was there, without a deadline; 3 a batch's, on condition that it is there; 4, 5 a touch's own.
   RUN: ./run deadlines.pml "-DMADE -DBATCH"
     -DMADE   a set on condition that the key is there      -DBATCH  a batch with that condition     -DTOUCH  a touch
     -DLATE   two touches, one of which comes when the time that it names is over
   MUTATIONS, each must be caught:
     BUG_UNFROZEN        a reader says that it has expired, and a touch may still move the deadline
     BUG_NO_LOOK_AGAIN   ... or it was replaced meanwhile by what has no deadline
     BUG_LOOK_AT_SLOT    ... or by a batch that was undecided when it was passed over: the slot alone is looked at again
     BUG_OUTLIVED        what was made from it is stamped although it has gone
     BUG_BATCH_OUTLIVED  a batch commits although what it was judged by has gone
     BUG_CLOCK_FIRST     ... as it is by the time that was read before all was judged
     BUG_UNJUDGED        (-DLATE) a touch moves a deadline that it hasn't judged */
#define DUE 1
#define LATER 3
#define PENDING 0
#define STAMPED 1
#define HUSK 2
#define UND 0
#define COMMITTING 1
#define DONE 2
#define ABORTED 3
byte now=0, slot=1, D=UND, began=0;
byte X[6]; bit frozen[6]; byte w0[6]; byte prev[6];
bit mortal=0, missed=0, ok_late=0, ok_away=0;

/* what becomes of the batch */
inline state_of(){
  if
  :: D==COMMITTING ->
#ifdef BUG_CLOCK_FIRST
     c=began;
#else
     c=now;
#endif
     p=prev[3]; do :: p==2 && w0[2]==HUSK -> p=prev[p] :: p>=4 && w0[p]==HUSK -> p=prev[p] :: else -> break od;
#ifdef BUG_BATCH_OUTLIVED
     atomic{ if :: D==COMMITTING -> D=DONE :: else fi }
#else
     atomic{ if :: D==COMMITTING -> D=(mortal && X[p]>began && X[p]<=c -> ABORTED : DONE) :: else fi }
#endif
  :: else
  fi;
  c=0; p=0
}
/* a record that waits for its stamp, made from one that has a deadline which it outlives */
inline decide(r){
  if
  :: w0[r]==PENDING ->
     c=now;
     p=prev[r];
     do :: p==3 -> state_of(); p=prev[r]; if :: D==DONE -> p=3; break :: else -> p=prev[3] fi
        :: p!=3 && p!=1 && w0[p]==HUSK -> p=prev[p]
        :: else -> break
     od;
     c=now;
#ifdef BUG_OUTLIVED
     atomic{ if :: w0[r]==PENDING -> w0[r]=STAMPED :: else fi }
#else
     atomic{ if :: w0[r]==PENDING -> w0[r]=(p!=3 && X[p]!=0 && X[p]<=c -> HUSK : STAMPED) :: else fi }
#endif
  :: else
  fi;
  c=0; p=0
}
/* b = the record that counts of what stands in the slot, h */
inline resolve(){
  b=h;
  do
  :: b==1 -> break
  :: b==3 -> state_of(); if :: D==DONE -> break :: else -> b=prev[3] fi
  :: else -> decide(b); if :: w0[b]==STAMPED -> break :: else -> b=prev[b] fi
  od
}
/* there = whether b is there, by what its deadline says for good */
inline judge(){
  x=X[b];
  if
  :: x==0 -> there=1
  :: else ->
     atomic{ there=(now<x) };
#ifndef BUG_UNFROZEN
     if :: !there -> atomic{ frozen[b]=1; x=X[b]; there=(now<x) } :: else fi
#endif
  fi
}
/* b has expired: still = whether it was the key's until then */
inline look_again(){
#ifdef BUG_NO_LOOK_AGAIN
  still=1
#else
  still=0;
#ifndef BUG_LOOK_AT_SLOT
  q=b; resolve(); if :: b!=q -> h=0 :: else fi;
#endif
  atomic{ still=(slot==h) }
#endif
}
proctype Reader(){
  byte h,b,c,p,q,x,n=0; bit there,still,m;
  do
  :: n==2 -> break
  :: else ->
     atomic{ m=missed };
again:
     h=slot; resolve(); judge();
     if
     :: there -> assert(!m); n++
     :: else -> look_again(); if :: still -> missed=1; n++ :: else -> goto again fi
     fi;
     atomic{ h=0; b=0; x=0; q=0; there=0; still=0; m=0 }
  od
}
/* in its slot: judged, then decided, by its owner or who meets it. (Its install: two_batches.pml) */
inline finish(){
  p=prev[3];
  do :: p!=1 && w0[p]==HUSK -> p=prev[p] :: else -> break od;
  if
  :: X[p]!=0 && X[p]<=began -> atomic{ if :: D==UND -> D=ABORTED :: else fi }
  :: else ->
     if :: X[p]!=0 -> mortal=1 :: else fi;
     atomic{ if :: D==UND -> D=COMMITTING :: else fi }
  fi;
  p=0; state_of()
}
/* puts `own`, due at `due` (0: never), if the key is there; done = whether it did */
inline put(own, due){
  skip;
again:
  h=slot;
  if :: h==3 && D==UND -> finish() :: else fi;
  resolve(); judge();
  if
  :: !there -> look_again(); if :: still -> goto refused :: else -> goto again fi
  :: else
  fi;
  atomic{ frozen[b]=1; there=(X[b]==0 || now<X[b]) };
  if :: !there -> goto again :: else fi;
  if :: w0[own]!=PENDING -> goto refused :: else fi;    /* it has come to nothing once: its key was gone */
  prev[own]=h; X[own]=due;
  if :: X[b]==0 || (due!=0 && due<=X[b]) -> fate=STAMPED :: else -> fate=PENDING fi;   /* outlives nothing */
  atomic{ if :: slot==h -> slot=own; w0[own]=fate :: else -> goto again fi };
  decide(own);
  if :: w0[own]==HUSK -> goto again :: else -> done=1 fi;
refused: skip
}
proctype Made(){
  byte h,b,c,p,q,x,fate; bit there,still,m,done;
  atomic{ m=missed };
  put(2,0);
  assert(!(m && done))
}
proctype Batch(){
  byte h,b,c,p,q; bit m;
  atomic{ m=missed }; began=now;
again:
  h=slot; resolve();
  atomic{ frozen[b]=1 };
  prev[3]=h;
  atomic{ if :: slot==h -> slot=3 :: else -> goto again fi };
  finish();
  assert(!(m && D==DONE))
}
/* to `due`, in place unless it is frozen */
inline touch(own, due){
  skip;
look:
  h=slot;
  if :: h==3 && D==UND -> finish() :: else fi;
  resolve(); judge();
  if
  :: !there -> look_again(); if :: still -> goto gone :: else -> goto look fi
  :: x==0 || frozen[b] || b==3 -> put(own,due)
  :: else ->
#ifdef BUG_UNJUDGED
     x=X[b];
#endif
     atomic{ if :: !frozen[b] && X[b]==x -> X[b]=due; done=1 :: else fi };
     if :: !done -> goto look :: else fi
  fi;
gone: skip
}
proctype Touch(byte own; byte due){
  byte h,b,c,p,q,x,fate; bit there,still,m,done;
#ifdef LATE
  if :: due==DUE -> now==1 :: else fi;
#endif
  atomic{ m=missed };
  touch(own,due);
  assert(!(m && done));
  if :: done && due==DUE -> ok_late=1 :: done && due!=DUE -> ok_away=1 :: else fi
}
proctype Clock(){ now=1 }
init {
  byte h,b,c,p,q,x; bit there;
  atomic{
    w0[1]=STAMPED; X[1]=DUE;
    run Clock();
#ifdef LATE
    X[1]=LATER; run Touch(4,DUE); run Touch(5,LATER+1);
#else
    run Reader();
#ifndef BATCH
    run Reader();
#endif
#endif
#ifdef MADE
    run Made();
#endif
#ifdef BATCH
    run Batch();
#endif
#ifdef TOUCH
    run Touch(4,LATER);
#endif
  };
  /* both were told that it was there: the late one came last, or else it was gone for the other */
  _nr_pr==1;
  h=slot; resolve(); judge();
  assert(!(ok_late && ok_away && there))
}
