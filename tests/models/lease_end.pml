/* lease_end.pml: the end of a lease (engine/leases.h): one moment for its two members, by a removal of its entry or by its deadline.
   Slots: 0 nothing, 1 a record that names the lease, 2 a record that doesn't. A reader goes over both keys, twice.
   RUN: ./run lease_end.pml "-DREVOKE -DDETACH"
     -DREVOKE    the lease is removed
     -DCLOCK     its deadline passes, and somebody keeps it alive
     -DDETACH    a writer gives key 0 a record without the lease, then the lease may end
     -DSWEEP     the sweep buries members
   MUTATIONS, each must be caught:
     BUG_UNFROZEN       a deadline that has passed is believed although it may still move
     BUG_NO_LOOK_AGAIN  a member whose lease is over is a miss although it was replaced meanwhile
     BUG_SWEEP          the sweep buries whatever stands in the slot
   missed: a read has answered that a member is gone by the lease's end. was_absent[k]: key k was absent at some moment. */
byte slot[2]; bit gone=0; byte X=1; bit frozen=0; byte now=0;
bit missed=0; bit was_absent[2]; bit detached=0;
inline ended(){ if :: slot[0]==1 -> was_absent[0]=1 :: else fi; if :: slot[1]==1 -> was_absent[1]=1 :: else fi }
/* o = whether the lease is over: from 1 on it stays so */
inline over(){
  if
  :: atomic{ gone -> o=1 }
  :: atomic{ !gone -> t=now };
     if
     :: atomic{ t<X -> o=0 }
     :: atomic{ t>=X ->
#ifdef BUG_UNFROZEN
          o=1; ended()
        }
#else
          skip
        };
        atomic{ frozen=1; o=(t>=X); if :: o -> ended() :: else fi }
#endif
     fi
  fi
}
proctype Reader(){
  byte k=0, r, t, n=0; bit o, m;
  do
  :: n==4 -> break
  :: else ->
     atomic{ k=n%2; m=missed; r=slot[k] };
     if
     :: r==0 -> assert(was_absent[k]); missed=1; n++
     :: r==2 -> n++
     :: r==1 ->
        over();
        if
        :: !o -> assert(!m); n++
        :: else ->
#ifdef BUG_NO_LOOK_AGAIN
           atomic{ assert(was_absent[k]); missed=1; n++ }
#else
           atomic{ if :: slot[k]==1 -> assert(was_absent[k]); missed=1; n++ :: else fi }
#endif
        fi
     fi;
     atomic{ r=0; t=0; o=0; m=0 }
  od
}
proctype Revoke(){
#ifdef DETACH
  atomic{ detached };
#endif
  atomic{ gone=1; ended() }
}
proctype Clock(){ atomic{ now=1 }; atomic{ now=2 } }
/* Asks whether it is over, then moves the deadline from what it has read. */
proctype KeepAlive(){
  byte x, t; bit o;
  over();
  if
  :: !o -> atomic{ x=X }; atomic{ if :: !frozen && X==x -> X=2 :: else fi }
  :: else
  fi
}
/* A set: what stands there is replaced, dead or not. */
proctype Detach(){ atomic{ slot[0]=2; detached=1 } }
proctype Sweep(){
  byte k=0, t; bit o;
  do
  :: k==2 -> break
  :: else ->
     if
     :: atomic{ slot[k]==1 -> skip };
        over();
#ifdef BUG_SWEEP
        if :: o -> atomic{ slot[k]=0 } :: else fi
#else
        if :: o -> atomic{ if :: slot[k]==1 -> slot[k]=0 :: else fi } :: else fi
#endif
     :: atomic{ slot[k]!=1 -> skip }
     fi;
     k++; o=0
  od
}
init { atomic{
  slot[0]=1; slot[1]=1;
  run Reader();
#ifndef SWEEP
  run Reader();
#endif
#ifdef REVOKE
  run Revoke();
#endif
#ifdef CLOCK
  run Clock(); run KeepAlive();
#endif
#ifdef DETACH
  run Detach();
#endif
#ifdef SWEEP
  run Sweep();
#endif
} }
