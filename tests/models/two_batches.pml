/* two_batches.pml: PROTOCOLS.md section E (WriteBatch), with D (stamps, views, trimming): TWO batches that meet on the same two keys,
   a plain writer of one of them, a view that reads both keys twice, plain gets, Harris trimming.
   RUN:  ./run two_batches.pml "-DWR -DVW -DNOGET" "-DSAFETY -DHC4"
     -DWR writer of key PK (default 1)  -DVW view 0  -DVW2 view 1  -DGT gets  -DNOGET no gets in the view  -DONEB only batch A
     -DOLD the clock has moved since the initial records: what replaces them has to trim
     -DPRE batch A finds out what it replaces before anybody knows it (ShortBatch::look)
     -DCA=k -DCB=k condition of batch A / B on key k ("the replaced record is the initial one")  -DOFFB=1 batch B on keys 1,2  -DVER versions
   MUTATIONS: -DBUG_NO_TRIMMED (PROTOCOLS.md as written: dropped record comes back into the chain), -DBUG_LINK_AFTER (as written: a get of a
     present key returns "absent"), -DBUG_VERSTORE (as written: late version store changes a version), -DBUG_CHECK_LATE (as written, with -DOFFB=1
     -DWR -DPK=0: the same batch twice on the helping stack), -DBUG_NO_STATE_CHECK (late install), -DBUG_REGISTRY (view's version lost),
     -DBUG_NOLINK (a record of another stamp is cut off: view's version lost), -DBUG_LOOK_LATE (with -DWR: what A replaces is stored while others may agree)
   FOUND: four errors in the text; the corrected version passes.
   In the code (engine/batch.h, versions.h): help = Batches::help, advance and install; setver = judge, once installed and before the
   decision; settle = Batches::settle, of the record that somebody met, or by the owner of all; finalise = Versions::finalise, state_of;
   Writer = Commit::commit and Versions::stamp_own; trim = Versions::trim with kTrimAll; get = resolve; vget = at_view; nl = NOLINK.
   Left out: absent keys (placeholders are ordinary tombs), the owner's healing of husks, recall, memory that is used again.
*/
#define TBD  0
#define BAT  255
#define HUSK 254
#define UND 0
#define COMMITTING 1
#define ABORTED 250
#define CL 16    /* link: CLOSED */
#if defined(BUG_NO_TRIMMED) || defined(BUG_UNSET_ONLY)
#define TR 0
#else
#define TR 32    /* link: TRIMMED, set by every CAS of trim: the agreement word can never come back to an earlier value */
#endif
/* records: 1,2 initial (key 0,1); A: 3,4; B: 5,6; 7 = plain writer's. RK(d,k) */
#define RK(d,k) (3+2*(d)+(k))
#define DOF(r) (((r)-3)/2)
#ifndef OFFB
#define OFFB 0     /* batch B is on keys OFFB and OFFB+1; 1: partial overlap with A's {0,1} */
#endif
#define KOF(d,k) ((d)*OFFB+(k))
#define KEY(r) keyof[r]
#define INIT(k) ((k)==2 -> 8 : (k)+1)
#ifndef PK
#define PK 1
#endif
byte keyof[9]; byte slot[3]; byte w0[9]; byte link[9]; byte D[2]; byte act[2];
#ifdef OLD
byte C=2;
#else
byte C=1;
#endif
bit drp[9]; bit nl[9]; byte first1=0; byte gy[2]; byte gs[2]; byte first0=0; byte ghostx=1;
#ifdef VER
byte ver[9];
#endif
#ifndef CA
#define CA 9   /* key on which A has a condition (9: none): replaced record must be the initial one */
#endif
#ifndef CB
#define CB 9
#endif
#ifdef VER
#define VERSET(h) assert(ver[h]!=0)
#else
#define VERSET(h) skip
#endif
#define CONDKEY(d) ((d)==0 -> CA : CB)

/* may q be cut off at once, by what gets the stamp t */
#ifdef BUG_NOLINK
#define CUT(q,t) (w0[q]!=HUSK && (nl[q] || (link[q]&15)==0))
#else
#define CUT(q,t) (w0[q]!=HUSK && w0[q]==(t) && (nl[q] || (link[q]&15)==0))
#endif
inline reach_check(pp, kx){   /* pp must not be reachable from slot[kx] */
  z=slot[kx]; do :: z==0 -> break :: else -> assert(z!=pp); z=(nl[z] -> 0 : link[z]&15) od; z=0
}
/* D of the record h is decided (its state is dd): its own word says so from now on. What it replaced is dropped at once if it has the
   same stamp and nothing lies below it */
inline settle(h){
  if
  :: dd==ABORTED -> atomic{ if :: w0[h]==BAT -> w0[h]=HUSK :: else fi }
  :: else ->
     atomic{ q=link[h]&15 };
     if
     :: q!=0 ->
        atomic{ i=CUT(q,dd-2) };
        atomic{ if :: w0[h]==BAT -> VERSET(h); w0[h]=dd-2; if :: i -> nl[h]=1; assert(!drp[q]); drp[q]=1; reach_check(q,KEY(h)) :: else fi :: else fi; q=0; i=0 }
     :: else
     fi
  fi
}
/* finalise a plain (non-undecided) head h: stamp it in w0.  dd = state of its batch if of kind batch; UND -> caller helps */
inline finalise(h){
  dd=99;
  do
  :: atomic{ w0[h]==TBD -> c=C }; atomic{ if :: w0[h]==TBD -> w0[h]=c :: else fi; c=0 }
  :: atomic{ w0[h]==BAT -> dd=D[DOF(h)];
        if :: dd==UND -> break :: else fi };
        if
        :: dd==COMMITTING -> atomic{ c=C }; atomic{ if :: D[DOF(h)]==COMMITTING -> D[DOF(h)]=c+2 :: else fi; c=0; dd=99 }
        :: else -> settle(h); dd=99
        fi
  :: atomic{ (w0[h]!=TBD && w0[h]!=BAT) -> break }
  od
}
inline setver(h){
#ifdef VER
   /* version of h = version of what it replaced (through husks) + 1 */
   atomic{ q=link[h]&15; if :: q!=0 && w0[q]==HUSK -> q=link[q]&15 :: else fi; if :: q!=0 && w0[q]==HUSK -> q=link[q]&15 :: else fi; if :: q!=0 -> q=ver[q]+1 :: else -> q=1 fi };
 #ifdef BUG_VERSTORE
   atomic{ assert(ver[h]==0 || ver[h]==q); ver[h]=q; q=0 }
 #else
   atomic{ if :: ver[h]==0 -> ver[h]=q :: else fi; q=0 }
 #endif
#else
   skip
#endif
}
#define ND(v) ((act[v]>=100 && act[v]-100<w0[r]) || (act[v]>0 && act[v]<100 && w0[p]<=act[v] && act[v]<w0[r]))
/* bounded trimming below r (r STAMPED in itself) */
inline trim(r0){
#ifndef NOTRIM
  r=r0;
  do
  :: atomic{ l=link[r]; p=l&15; if :: ((l&CL) || p==0 || nl[r]) -> break :: else fi };
     atomic{ need=0;
       if :: w0[p]==HUSK || w0[p]==w0[r] -> skip
#ifdef BUG_REGISTRY
          :: else -> skip
#else
          :: else -> if :: ND(0) || ND(1) -> need=1 :: else fi
#endif
       fi };
     if :: need -> atomic{ r=p; need=0 }
        :: else ->
           atomic{ q=(nl[p] -> 0 : link[p]&15); link[p]=link[p]|CL };
           atomic{ if :: link[r]==l -> link[r]=q|TR; assert(!drp[p]); drp[p]=1; reach_check(p,KEY(p)) :: else fi; q=0 }
     fi
  od;
  atomic{ r=0; l=0; p=0; q=0; need=0 }
#endif
}
/* help batch d0 to its decision; other undecided batches met are pushed (depth asserted <= 2) */
inline help(d0){
  atomic{ cur=d0; k=0; sp=0 };
 hl:
  do
  :: atomic{ k==2 -> if :: D[cur]==UND -> D[cur]=COMMITTING :: else fi }; break
  :: atomic{ k<2 -> e=link[RK(cur,k)] };
     atomic{ h=slot[KOF(cur,k)] };
     if
     :: h==RK(cur,k) ->
        setver(RK(cur,k));
        if :: k==CONDKEY(cur) ->
             atomic{ e=link[RK(cur,k)]&15 };
             do :: atomic{ e!=0 && w0[e]==HUSK -> e=link[e]&15 } :: else -> break od;
             if :: e!=INIT(KOF(cur,k)) -> atomic{ if :: D[cur]==UND -> D[cur]=ABORTED :: else fi }; break
                :: else -> atomic{ k++; e=0; h=0 } fi
           :: else -> atomic{ k++; e=0; h=0 } fi
     :: else ->
#if !defined(BUG_CHECK_LATE) && !defined(BUG_NO_STATE_CHECK)
        atomic{ if :: D[cur]!=UND -> break :: else fi };
#endif
        finalise(h);
        if
        :: dd==UND ->    /* undecided batch of h: help it first */
           atomic{ assert(sp==0 && DOF(h)!=cur); dd=0; cur=1-cur; k=0; sp=1; e=0; h=0 }
        :: else ->
#ifdef BUG_CHECK_LATE
           atomic{ if :: D[cur]!=UND -> break :: else fi };
#endif
           if
           :: e!=h -> atomic{ if :: link[RK(cur,k)]==e -> link[RK(cur,k)]=h :: else fi; e=0; h=0 }
           :: else -> atomic{ if :: slot[KOF(cur,k)]==h ->
                         assert(D[cur]==UND);               /* no late install */
                         assert((link[RK(cur,k)]&15)==h);
                         slot[KOF(cur,k)]=RK(cur,k); if :: KOF(cur,k)==0 && first0==0 -> first0=RK(cur,0) :: else fi; if :: KOF(cur,k)==1 && first1==0 -> first1=RK(cur,k) :: else fi
                      :: else fi; e=0; h=0 }
           fi
        fi
     fi
  od;
  /* decided */
  atomic{ e=0; h=0; dd=D[cur] };
  assert(dd!=UND);
  if :: dd==COMMITTING -> atomic{ c=C }; atomic{ if :: D[cur]==COMMITTING -> D[cur]=c+2 :: else fi; c=0; dd=D[cur] } :: else fi;
  if :: sp==1 -> atomic{ sp=0; cur=1-cur; k=0; dd=0 }; goto hl :: else fi;
  atomic{ k=0; dd=0 }
}
#define PLAIN(r) (w0[r]!=TBD && w0[r]!=BAT && w0[r]!=HUSK)
inline look(d0,k0){ atomic{ h=slot[KOF(d0,k0)]; if :: !PLAIN(h) -> h=0 :: else fi }; atomic{ if :: h!=0 -> link[RK(d0,k0)]=h :: else fi; h=0 } }
proctype Batch(byte me){
  byte cur,k,sp,e,h,dd,c,r,l,p,q,z,i; bit need;
#ifdef PRE
  if :: me==0 -> look(0,0); look(0,1) :: else fi;
#endif
  help(me);
  dd=D[me];
  k=0;
  do
  :: k<2 && !(dd==ABORTED && k>CONDKEY(me)) -> h=RK(me,k); settle(h); h=0; k++
  :: else -> break
  od;
  atomic{ k=0; dd=0 };
  if :: D[me]!=ABORTED -> trim(RK(me,0)); trim(RK(me,1)) :: else fi
}
#ifdef BUG_LOOK_LATE
proctype Late(){ byte h; if :: slot[0]==RK(0,0) -> look(0,1) :: D[0]!=UND fi }
#endif
proctype Writer(){
  byte cur,k,sp,e,h,dd,c,r,l,p,q,z,i; bit need;
  do
  :: atomic{ h=slot[PK] }; finalise(h);
     if :: dd==UND -> r=DOF(h); h=0; help(r); r=0
        :: else -> atomic{ link[7]=h; dd=0 };
           atomic{ if :: slot[PK]==h -> slot[PK]=7; h=99 :: else h=0 fi };
           if :: h==99 -> break :: else fi
     fi
  od;
  atomic{ c=C }; atomic{ q=link[7]&15; i=CUT(q,c) };
  atomic{ if :: w0[7]==TBD -> w0[7]=c; if :: i -> nl[7]=1; assert(!drp[q]); drp[q]=1; reach_check(q,KEY(7)) :: else fi :: else fi; c=0; q=0; i=0 };
  trim(7)
}
/* plain get of key k: result g.  The protocol text: state of D, then link.  Here link is read BEFORE the state of D (LINKFIRST) */
inline get(kk){
  atomic{ g=slot[kk] };
  do
  :: atomic{ w0[g]==TBD -> c=C }; atomic{ if :: w0[g]==TBD -> w0[g]=c :: else fi; c=0 }
  :: atomic{ w0[g]==BAT -> 
#ifndef BUG_LINK_AFTER
       q=link[g]&15 }; atomic{
#endif
       dd=D[DOF(g)] };
     if :: dd==UND || dd==ABORTED -> 
#ifdef BUG_LINK_AFTER
          atomic{ g=link[g]&15; dd=0 }
#else
          atomic{ g=q; q=0; dd=0 }
#endif
        :: dd==COMMITTING -> atomic{ c=C }; atomic{ if :: D[DOF(g)]==COMMITTING -> D[DOF(g)]=c+2 :: else fi; c=0; q=0; dd=0 }
        :: else -> atomic{ q=0; dd=0; break }
     fi
  :: atomic{ w0[g]==HUSK -> g=link[g]&15 }
  :: atomic{ w0[g]!=TBD && w0[g]!=BAT && w0[g]!=HUSK -> break }
  od;
  assert(g!=0)
}
inline vget(kk){
  atomic{ g=slot[kk] };
  do
  :: atomic{ w0[g]==TBD -> c=C }; atomic{ if :: w0[g]==TBD -> w0[g]=c :: else fi; c=0 }
  :: atomic{ w0[g]==BAT -> q=link[g]&15 }; atomic{ dd=D[DOF(g)] };
     if :: dd==UND || dd==ABORTED || (dd!=COMMITTING && dd-2>s) -> atomic{ g=q; q=0; dd=0; assert(g!=0) }
        :: dd==COMMITTING -> atomic{ c=C }; atomic{ if :: D[DOF(g)]==COMMITTING -> D[DOF(g)]=c+2 :: else fi; c=0; q=0; dd=0 }
        :: else -> atomic{ q=0; dd=0; break }
     fi
  :: atomic{ w0[g]!=TBD && w0[g]!=BAT && (w0[g]==HUSK || w0[g]>s) -> g=(nl[g] -> 0 : link[g]&15); assert(g!=0) }
  :: atomic{ w0[g]!=TBD && w0[g]!=BAT && w0[g]!=HUSK && w0[g]<=s -> break }
  od
}
#define TORN(a,b) ( (a==1 && b!=2 && b!=7) || (a==3 && b!=4 && b!=7) || (a==5 && b!=6 && b!=7) )
#define OLDER(a,b) ( (a==1 && b!=1) || (a!=1 && a==first0 && b!=first0 && b!=1) )   /* a older than b, key 0 */
#define TORN2(a,b,d) ((a==3 && b==2) || (b==4 && a==1) || (b==5 && d==8) || (d==6 && b==2) || (b==4 && first1==5 && D[1]!=ABORTED && d==8) || (b==5 && first1==4 && D[0]!=ABORTED && a==1))
proctype View(byte v){
  byte g,q,c,dd,s,x,y0,y1,y2;
#ifndef NOGET
  get(0); x=g; g=0;
#endif
  atomic{ c=C }; atomic{ act[v]=100+c; c=0 };
  atomic{ s=C; C=C+1 };
  act[v]=s;
  vget(0); y0=g; g=0;
#ifndef NOGET
  assert(!OLDER(y0,x)); x=0;
#endif
  vget(1); y1=g; g=0;
#if OFFB==0
  assert(!TORN(y0,y1));
#endif
  vget(0); assert(g==y0); g=0;
  vget(1); assert(g==y1); g=0;
#if OFFB==1
  vget(2); y2=g; g=0; assert(!TORN2(y0,y1,y2)); vget(2); assert(g==y2); g=0; y2=0;
#endif
  y1=0;
  atomic{ act[v]=0; gs[v]=s; gy[v]=y0; assert(!(gs[1-v]!=0 && gs[1-v]<s) || !OLDER(y0,gy[1-v])); assert(!(gs[1-v]>s) || !OLDER(gy[1-v],y0)) };
#ifndef NOGET
  get(0); assert(!OLDER(g,y0))
#endif
}
proctype Getter(){   /* plain gets of both keys, unrelated moments */
  byte g,q,c,dd;
  get(0); get(1); 
}
init {
  byte a,b;
  atomic{
  keyof[1]=0; keyof[2]=1; keyof[3]=0; keyof[4]=1; keyof[5]=OFFB; keyof[6]=1+OFFB; keyof[7]=PK; keyof[8]=2;
  slot[0]=1; slot[1]=2; w0[1]=1; w0[2]=1; w0[3]=BAT; w0[4]=BAT; w0[5]=BAT; w0[6]=BAT; slot[2]=8; w0[8]=1;
#ifdef BUG_UNSET_ONLY
  link[3]=15; link[4]=15; link[5]=15; link[6]=15;   /* initial value distinct from 0, but no TRIMMED bit */
#endif
#ifdef VER
  ver[1]=1; ver[2]=1; ver[8]=1;
#endif
#ifndef ONEB
  run Batch(1);
#endif
  run Batch(0);
#ifdef BUG_LOOK_LATE
  run Late();
#endif
#ifdef WR
  run Writer();
#endif
#ifdef VW
  run View(0);
#endif
#ifdef VW2
  run View(1);
#endif
#ifdef GT
  run Getter();
#endif
  };
  atomic{ _nr_pr==1 ->
    a=slot[0]; do :: w0[a]==HUSK -> a=link[a]&15 :: else -> break od;
    b=slot[1]; do :: w0[b]==HUSK -> b=link[b]&15 :: else -> break od;
    assert(a!=0 && b!=0 && w0[a]!=BAT && w0[b]!=BAT && w0[a]!=TBD && w0[b]!=TBD);
#ifndef ONEB
    assert(D[1]!=UND && D[1]!=COMMITTING);
    assert(!(CA==0 && CB==0) || ((D[0]==ABORTED)+(D[1]==ABORTED)==1));     /* same condition on the same key: exactly one wins */
    assert(!(CA==9 && CB==9) || (D[0]!=ABORTED && D[1]!=ABORTED));
#endif
    assert(D[0]!=UND && D[0]!=COMMITTING);
#if OFFB==0
    assert(!TORN(a,b));
  #if PK==1 && !defined(ONEB)
    assert(!(D[0]!=ABORTED && D[1]==ABORTED) || a==3);
    assert(!(D[1]!=ABORTED && D[0]==ABORTED) || a==5);
  #endif
#else
    assert(!(D[0]!=ABORTED) || a==3 || PK==0);
    assert(!(D[1]!=ABORTED) || slot[2]==6);
#endif
    skip
#ifdef VER
    ; assert(ver[a]>=2 || a==1)
#endif
  }
}
