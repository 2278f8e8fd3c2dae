/* overflow_chain.pml: PROTOCOLS.md sections A+B with an overflow bucket: bucket p = 1 main slot b[0] (held by another key J at first) + ctl (bit0 off, bit1 bloom bit
   of K's tag) + overflow slots b[1],b[2]; q = b[3],b[4]; key K (home p while N==0, q when N==1). Inserters of K, deleter of J, deleter of K, split, get.
   RUN: ./run overflow_chain.pml "-DDK -DGT" "-DSAFETY -DHC4"      -DDK deleter of K  -DSP split  -DGT get  -DI3 third inserter
   MUTATIONS: BUG_STALE_CTL (second look uses ctl of the first scan), BUG_BLOOM_LATE (bloom bit after LIVE).  Both caught.  FOUND: no error; split with get or deleter not exhausted. */
#define E 0
#define U 255
#define JL 100
#define TENT(r) (16+(r))
#define LIVE(r) (32+(r))
#define FRZ(r)  (48+(r))
#define ISL(v) ((v)>=32 && (v)<48)
#define ISF(v) ((v)>=48 && (v)<64)
#define IST(v) ((v)>=16 && (v)<32)
#define REC(v) ((v)&15)
byte b[5]; byte ctl=0; bit N=0, qready=0, live=0, dels=0;
#define CAS(i,o,n) atomic{ if :: b[i]==(o) -> b[i]=(n); ok=1 :: else -> ok=0 fi }
#define LAST(B) ((B)==3 -> 4 : (ctl&1 -> 2 : 0))     /* last slot of the chain, reads ctl now */
inline help_split(){
  i=0;
  do
  :: atomic{ i<=LAST(0) -> v=b[i] };
     if :: IST(v) -> CAS(i,v,E) :: ISL(v) -> CAS(i,v,FRZ(REC(v))) :: else -> i++ fi
  :: atomic{ i>LAST(0) -> break }
  od;
  k=3; i=0;
  do
  :: atomic{ i<=LAST(0) -> v=b[i] }; if :: ISF(v) -> CAS(k,U,LIVE(REC(v))); k++ :: else fi; i++
  :: atomic{ i>LAST(0) -> break }
  od;
  do :: k<5 -> CAS(k,U,E); k++ :: else -> break od;
  i=0;
  do
  :: atomic{ i<=LAST(0) -> v=b[i] }; if :: ISF(v) -> CAS(i,v,E) :: else fi; i++
  :: atomic{ i>LAST(0) -> break }
  od;
  atomic{ qready=1; v=0; i=0; k=0 }
}
inline finalise(B,ti,tv){
#ifdef BUG_STALE_CTL
  j=(B==3 -> 4 : (c&1 -> 2 : 0));       /* chain as read in the first scan */
#endif
  i=B;
  do
#ifdef BUG_STALE_CTL
  :: i>j ->
#else
  :: atomic{ i>LAST(B) -> skip };
#endif
     atomic{ m=N };
     if :: B==0 && m==1 -> CAS(ti,tv,E); ok=0; break
        :: else -> atomic{ if :: b[ti]==tv -> b[ti]=LIVE(REC(tv)); live=1; ok=1 :: else -> ok=0 fi }; break fi
#ifdef BUG_STALE_CTL
  :: i<=j && i==ti -> i++
  :: i<=j && i!=ti ->
#else
  :: atomic{ i<=LAST(B) && i==ti -> i++ }
  :: atomic{ i<=LAST(B) && i!=ti -> skip };
#endif
     atomic{ w=b[i] };
     if :: ISL(w)||ISF(w) -> CAS(ti,tv,E); ok=0; break
        :: IST(w) && i<ti -> CAS(ti,tv,E); ok=0; break
        :: IST(w) && i>ti -> CAS(i,w,E)      /* kill, look at it again */
        :: else -> i++ fi
  od;
  atomic{ i=0; m=0; w=0 }
}
proctype Ins(byte r){
  byte i,v,k,w,m,B,e,x,c,j,u; bit ok,n; byte t=0;
 again:
  atomic{ e=99; x=99; B=0; c=0; w=0; v=0; u=0; n=N };
  if :: t==2 -> goto fin :: else fi;
  if :: n==1 -> B=3; atomic{ m=qready }; if :: m==0 -> help_split() :: else fi; m=0 :: else atomic{ c=ctl } fi;
  i=B;
  do
  :: (B==3 && i<=4) || (B==0 && (i==0 || (i<=2 && (c&1)))) ->
       atomic{ v=b[i]; if :: v==E && (e==99) -> e=i :: v!=E && v!=JL && v!=U -> x=i; u=v; i=9 :: else fi; i++; v=0 }
  :: else -> break
  od;
  i=0;
  if
  :: x!=99 && ISL(u) -> CAS(x,u,LIVE(r)); if :: ok -> goto fin :: else goto again fi      /* overwrite in place */
  :: x!=99 && IST(u) -> finalise(B,x,u); goto again
  :: x!=99 && ISF(u) -> goto again
  :: x==99 && e==99 -> if :: B==0 && !(c&1) -> atomic{ if :: ctl==c -> ctl=c|1 :: else fi } :: else t=2 fi; goto again    /* append an overflow bucket */
  :: else ->
#ifndef BUG_BLOOM_LATE
     if :: B==0 && e>0 && !(c&2) -> atomic{ if :: ctl==c -> ctl=c|2; ok=1 :: else ok=0 fi }; if :: !ok -> goto again :: else c=c|2 fi :: else fi;
#endif
     CAS(e,E,TENT(r));
     if :: ok -> finalise(B,e,TENT(r));
#ifdef BUG_BLOOM_LATE
              if :: B==0 && e>0 -> atomic{ ctl=ctl|2 } :: else fi;
#endif
              if :: ok -> goto fin :: else t++; r++; goto again fi
        :: else goto again fi
  fi;
 fin: skip
}
proctype DelJ(){ atomic{ if :: b[0]==JL -> b[0]=E :: else fi } }
proctype DelK(){
  byte i,v,k,w,m,B,x,c; bit ok,n;
 again:
  atomic{ x=99; B=0; c=0; n=N };
  if :: n==1 -> B=3; atomic{ m=qready }; if :: m==0 -> help_split() :: else fi; m=0 :: else atomic{ c=ctl } fi;
  i=B;
  do
  :: (B==3 && i<=4) || (B==0 && (i==0 || (i<=2 && (c==3)))) -> atomic{ v=b[i]; if :: ISL(v)||ISF(v) -> x=i; w=v; i=9 :: else fi; i++; v=0 }
  :: else -> break
  od;
  if :: x!=99 && ISL(w) -> atomic{ if :: b[x]==w -> b[x]=E; dels=1; ok=1 :: else ok=0 fi }; if :: !ok -> goto again :: else fi
     :: x!=99 && ISF(w) -> goto again
     :: else -> atomic{ m=N }; if :: m!=n -> goto again :: else fi fi
}
proctype Split(){ byte i,v,k; bit ok; atomic{ N=1 }; help_split() }
proctype Get(){
  byte i,v,c; bit f,was,n,m;
  atomic{ was=live };
 again:
  atomic{ n=N; i=0; v=0; c=0 };
  if :: n==1 -> atomic{ m=qready } :: else fi;
  if :: n==0 || m==0 ->
        atomic{ c=ctl };
        do :: i==0 || (i<=2 && c==3) -> atomic{ v=b[i]; if :: ISL(v)||ISF(v) -> f=1 :: else fi; i++ }
           :: else -> break od :: else fi;
  if :: n==1 && !f -> i=3; do :: i<5 -> atomic{ v=b[i]; if :: ISL(v) -> f=1 :: else fi; i++ } :: else -> break od :: else fi;
  if :: !f -> atomic{ m=N }; if :: m!=n -> goto again :: else fi :: else fi;
  assert(f || !was || dels)
}
#define V(i) (ISL(b[i])||ISF(b[i]))
#define BAD(i,j) (V(i)&&V(j)&&(REC(b[i])!=REC(b[j]) || (ISL(b[i])&&ISL(b[j]))))
proctype Mon(){ end: atomic{ (BAD(0,1)||BAD(0,2)||BAD(0,3)||BAD(0,4)||BAD(1,2)||BAD(1,3)||BAD(1,4)||BAD(2,3)||BAD(2,4)||BAD(3,4)) -> assert(0) } }
init { atomic{
  b[0]=JL; b[3]=U; b[4]=U;
#ifdef EMPTYOV
  ctl=1;
#endif
  run Ins(1); run Ins(5); run DelJ();
#ifdef DK
  run DelK();
#endif
#ifdef SP
  run Split();
#endif
#ifdef GT
  run Get();
#endif
#ifdef I3
  run Ins(9);
#endif
  run Mon()
}}
