/* invalidation.pml: PROTOCOLS.md part N: one or two invalidation points over two keys, a writer, a get of both keys, a view, the sweep.
   Records: 1, 2 the first ones of keys 0, 1; 3, 4 the writer's (plain, or -DDERIVED: made from what was there, as an append); 5 another's; tombs from 6 on.
   RUN: ./run invalidation.pml "-DDERIVED -DVW"      -DTWO: a second point. -DVW: a view. -DGT: a get. -DW2: the writer writes both keys.
   -DSET: after the point, somebody sets the writer's key.
   MUTATIONS, each must be caught:
     BUG_STAMP_FIRST     the point takes its stamp before it is in the table
     BUG_COUNT_LATE      the count that makes readers look is raised after the stamp
     BUG_COUNT_AFTER     a reader looks at the count after it has found its record
     BUG_NO_LOOK_AGAIN   ... or believes the table of points although its record was buried meanwhile
     BUG_DEAD_BELIEVED   (-DRETAG) what is dead is taken for the key's although it was replaced before it died
     BUG_NOHELP          a point that has no stamp yet is taken for one that isn't there
     BUG_DROP            a point goes when its sweep is over, although a view lies between the two
     BUG_DERIVED         what was made from a record that died meanwhile is stamped like any other
     BUG_JUDGED_EARLY    (-DSET) ... dies by a point that what it was made from came after
     BUG_SWEEP           the sweep buries whatever stands in the slot
     BUG_RETAG           (-DRETAG) what outlived the record that it was made from is a version like any other
   -DRETAG: the writer changes key 1 on condition that it is there, and what it writes isn't of the point's scope (a set that
   gives its key other tags). Made from a record that died meanwhile, it is a husk: what is below it counts.
   old[r]: the record has what was written before the first point. */
#define NR 10
#define NONE 0
#define HUSK 253           /* as a stamp: decided, and no version */
#ifdef RETAG
#define DERIVED
#define SCOPED(r) (r!=4)
#else
#define SCOPED(r) 1
#endif
byte slot[2];
byte stamp[NR];            /* 0: pending */
byte judged[NR];           /* clock + 1 when the record that it was made from was judged; 0: made from nothing */
byte prev[NR]; bit tomb[NR]; bit old[NR];
byte C=1;
byte pt[2];                /* 0 none, 255 pending, else its stamp */
byte swept[2];             /* clock when its sweep was over; 0: it isn't */
byte count=0;              /* points whose sweep isn't over */
byte act=0;                /* the view: 0 none, 100+c pending, else its stamp */
byte nextr=6; bit returned=0;
/* st = stamp of point i (0: none), which is given one if it has none */
inline point(i){
  atomic{ st=pt[i] };
  if
  :: st==255 ->
#ifdef BUG_NOHELP
     st=0
#else
     atomic{ c=C; C=C+1 }; atomic{ if :: pt[i]==255 -> pt[i]=c :: else fi; st=pt[i]; c=0 }
#endif
  :: else
  fi
}
/* stamps r if nobody has */
inline finalise(r){
  if
  :: atomic{ stamp[r]==0 -> c=C };
     d=c;
#ifndef BUG_DERIVED
     if
     :: judged[r]!=0 && judged[r]!=c+1 ->
        /* the first point that came between kills it: it belongs before that one */
        e=c; point(0);
#ifdef RETAG
#ifndef BUG_RETAG
        if :: st!=0 && st+1>=judged[r] && st<d -> d=HUSK :: else fi;
#endif
#else
        if :: st!=0 && st+1>=judged[r] && st<d -> d=st :: else fi;
#endif
#ifdef TWO
        c=e; point(1); if :: st!=0 && st+1>=judged[r] && st<d -> d=st :: else fi;
#endif
        e=0
     :: else
     fi;
#endif
     atomic{ if :: stamp[r]==0 -> stamp[r]=d :: else fi; c=0; d=0; st=0 }
  :: atomic{ stamp[r]!=0 }
  fi
}
/* dead = whether a point with a stamp of at most `at` kills r */
inline kills(r, at){
  dead=0;
  point(0); if :: st!=0 && SCOPED(r) && stamp[r]<=st && st<=at -> dead=st :: else fi;
#ifdef TWO
  if :: dead==0 -> point(1); if :: st!=0 && stamp[r]<=st && st<=at -> dead=st :: else fi :: else fi;
#endif
  st=0
}
/* g = what counts of what stands in a slot, top */
inline look_through(){
  top=g;
#ifdef RETAG
  if :: stamp[g]==HUSK -> g=prev[g] :: else fi
#endif
}
/* get of key k: g = its record, NONE if it is absent */
inline get(k){
  do
  ::
#ifndef BUG_COUNT_AFTER
     atomic{ some=count };
#endif
     atomic{ g=slot[k] };
     if :: g==NONE -> break :: else fi;
     finalise(g); look_through();
#ifdef BUG_COUNT_AFTER
     atomic{ some=count };
#endif
     if
     :: tomb[g] -> g=NONE; break
     :: !tomb[g] && some==0 -> break
     :: !tomb[g] && some!=0 ->
        kills(g,250);
#ifdef BUG_DEAD_BELIEVED
        if :: dead!=0 -> g=NONE; break :: else fi;
#endif
#ifdef BUG_NO_LOOK_AGAIN
        if :: dead!=0 -> g=NONE :: else fi; break
#else
        atomic{ if :: slot[k]==top -> if :: dead!=0 -> g=NONE :: else fi; break :: else dead=0 fi }
#endif
     fi
  od;
  dead=0; some=0
}
/* a tomb with the point's own stamp takes h's place; ok = whether it did */
inline bury(k,h){
  atomic{ if :: slot[k]==h -> t=nextr; nextr++; assert(t<NR); tomb[t]=1; stamp[t]=dead; prev[t]=h; slot[k]=t; t=0; ok=1
             :: else -> ok=0 fi }
}
inline write(k, own){
  do
  ::
#ifdef DERIVED
     atomic{ j=C };
#endif
     atomic{ some=count }; atomic{ g=slot[k] };
     finalise(g); look_through();
     if
     :: some!=0 && !tomb[g] -> kills(g,250);
        if :: dead!=0 -> bury(k,top); dead=0; ok=0; goto again
           :: else fi
     :: else
     fi;
#ifdef RETAG
     if :: tomb[g] -> goto refused :: else fi;
#endif
#ifdef DERIVED
#ifndef BUG_JUDGED_EARLY
     if :: stamp[g]!=HUSK && stamp[g]>j -> j=stamp[g] :: else fi;
#endif
     if :: !tomb[g] && own!=5 -> judged[own]=j+1; old[own]=old[g] && SCOPED(own) :: else -> judged[own]=0; old[own]=0 fi;
#endif
     prev[own]=top;
     atomic{ if :: slot[k]==top -> slot[k]=own; break :: else fi };
again: skip
  od;
  finalise(own);
refused: g=0; some=0; j=0; top=0
}
proctype Writer(){ byte c,d,e,g,j,st,some,dead,t,top; bit ok,late;
  atomic{ late=returned };
#ifdef W2
  write(0,3);
#endif
  write(1,4);
  /* nothing newer dies, and nothing brings back what died */
#ifndef RETAG
  get(1); atomic{ assert(!late || g==4 || g==5); assert(!late || !old[4]) }
#endif
}
/* what is set after the point stays, or what was made from it */
proctype Setter(){ byte c,d,e,g,j,st,some,dead,t,top; bit ok;
  returned==1;
  write(1,5); get(1);
  assert(g!=NONE)
}
inline make(i){
#ifdef BUG_STAMP_FIRST
  atomic{ s=C; C=C+1 }; atomic{ count++ }; atomic{ pt[i]=s };
#else
#ifdef BUG_COUNT_LATE
  atomic{ pt[i]=255 }; point(i); st=0; atomic{ count++ };
#else
  atomic{ count++ }; atomic{ pt[i]=255 }; point(i); st=0;
#endif
#endif
}
inline sweep(i){
  k=0;
  do
  :: k<2 ->
     do
     :: atomic{ g=slot[k] };
        if :: tomb[g] -> break :: else fi;
        finalise(g); look_through();
#ifdef BUG_SWEEP
        dead=pt[i];
#else
        kills(g,250);
#endif
        if :: dead!=0 -> bury(k,top); if :: ok -> break :: else fi
           :: else -> break fi
     od;
     k++; dead=0; ok=0
  :: else -> break
  od;
  atomic{ swept[i]=C; count-- };
#ifndef BUG_DROP
  /* a view that was opened between the two needs it for as long as it is open */
  atomic{ !((act>=100 && act-100<swept[i]) || (act>0 && act<100 && act>=pt[i] && act<swept[i])) };
#endif
  atomic{ pt[i]=0; k=0; g=0; top=0 }
}
proctype Clear(byte i){ byte c,d,e,g,k,s,st,dead,t,top; bit ok;
  make(i); s=0;
  returned=1;
  sweep(i)
}
proctype Get(){ byte c,d,e,g,h,st,some,dead,top; bit late;
  atomic{ late=returned };
#ifdef RETAG
  /* nobody brings a key back that was missed */
  get(1); h=g; get(1);
  atomic{ assert(!(h==NONE && g!=NONE)); assert(!(late && g!=NONE && SCOPED(g))) };
#else
  get(0); h=g; get(1);
  /* one moment: nothing old is found after something old was missed, or after the call returned */
  atomic{ assert(!(late && h!=NONE && old[h])); assert(!(late && g!=NONE && old[g]));
          assert(!(h==NONE && g!=NONE && old[g])) }
#endif
}
inline vget(k){
  atomic{ g=slot[k] };
  do
  :: g==NONE -> break
  :: g!=NONE -> finalise(g); if :: stamp[g]<=v -> break :: else -> atomic{ g=prev[g] } fi
  od;
  if
  :: g!=NONE && tomb[g] -> g=NONE
  :: g!=NONE && !tomb[g] -> kills(g,v); if :: dead!=0 -> g=NONE :: else fi
  :: else
  fi;
  dead=0
}
proctype View(){ byte c,d,e,g,st,dead,v,a,b; bit late;
  atomic{ late=returned };
  atomic{ act=100+C }; atomic{ v=C; C=C+1 }; atomic{ act=v };
  vget(0); a=g; vget(1); b=g;
  atomic{ assert(!(late && a!=NONE && old[a])); assert(!(late && b!=NONE && old[b]));
          /* both keys are there until the point, and a view has it for both or for neither */
          assert(!(a==NONE && b!=NONE && old[b])); assert(!(b==NONE && a!=NONE && old[a])) };
  vget(0); atomic{ assert(g==a) }; vget(1); atomic{ assert(g==b) };
  /* who has seen the point's moment may tell others */
  if :: a==NONE || b==NONE -> returned=1 :: else fi;
  atomic{ act=0; a=0; b=0; g=0 }
}
init { atomic{
  slot[0]=1; slot[1]=2; stamp[1]=1; stamp[2]=1; old[1]=1; old[2]=1;
  run Clear(0);
#ifdef TWO
  run Clear(1);
#endif
#ifndef NOWR
  run Writer();
#endif
#ifdef SET
  run Setter();
#endif
#ifdef GT
  run Get();
#endif
#ifdef VW
  run View();
#endif
} }
