/* adjacent_trim.pml: PROTOCOLS.md section D, trim(): chain H(5) -> 4 -> 3 -> 2 -> 1 of one key, stamps 1,2,3,4,5 (or with equal stamps: -DEQ);
   two trimmers start at different (adjacent) nodes, a third one optionally; a writer puts a new head and trims from it; views open/close meanwhile.
   RUN: ./run adjacent_trim.pml "-DOLDV=3 -DWR -DVW" "-DSAFETY -DHC4"
   -DNL: the clock stands where the head's stamp is, and the writer drops a head of its own stamp with nothing below it at once (NOLINK)
   In the code: trim = Versions::trim (with kTrimAll; others stop at the first version that stays), Writer = Versions::stamp_own, vget = at_view.
   MUTATIONS: BUG_NOCLOSE (link not closed first: record dropped twice), BUG_REGISTRY (view's version lost), BUG_NOLINK (a head of another stamp is dropped at once): caught.  FOUND: no error. */
#define CL 8
#ifdef BUG_NOLINK
#define CUT(p,t) true
#else
#define CUT(p,t) (w0[p]==(t))
#endif
byte head=5; byte link[8]; byte w0[8]; byte C=6; byte act[2]; bit drp[8]; bit nl[8];
inline unreachable(pp){ z=head; do :: z==0 -> break :: else -> assert(z!=pp); z=(nl[z] -> 0 : link[z]&7) od; z=0 }
inline trim(r0){
  r=r0;
  do
  :: atomic{ l=link[r]; p=l&7; if :: ((l&CL)||p==0||nl[r]) -> break :: else fi };
     need=0; 
     if :: w0[p]!=w0[r] ->
#ifndef BUG_REGISTRY
       i=0;
       do :: i<2 -> atomic{ if :: (act[i]>=100 && act[i]-100<w0[r]) || (act[i]>0 && act[i]<100 && w0[p]<=act[i] && act[i]<w0[r]) -> need=1 :: else fi; i++ }
          :: else -> break od;
       i=0
#endif
        :: else fi;
     if :: need -> atomic{ r=p; need=0 }
        :: else ->
#ifdef BUG_NOCLOSE
           atomic{ q=(nl[p] -> 0 : link[p]&7) };
#else
           atomic{ q=(nl[p] -> 0 : link[p]&7); link[p]=link[p]|CL };
#endif
           atomic{ if :: link[r]==l -> link[r]=q; assert(!drp[p]); drp[p]=1; unreachable(p) :: else fi; q=0 }
     fi
  od;
  atomic{ r=0; l=0; p=0; q=0; need=0 }
}
proctype Trim(byte r0){ byte r,l,p,q,z,i; bit need; trim(r0) }
proctype Writer(){   /* new head 6 over 5, stamped after publication, then trim */
  byte r,l,p,q,z,i,c; bit need;
  atomic{ link[6]=head; head=6 };
  atomic{ c=C };
#ifdef NL
  atomic{ p=link[6]&7; i=(CUT(p,c) && (nl[p] || (link[p]&7)==0)) };
#endif
  atomic{ if :: w0[6]==0 -> w0[6]=c; if :: i -> nl[6]=1; assert(!drp[p]); drp[p]=1; unreachable(p) :: else fi :: else fi; c=0; i=0; p=0 };
  trim(6)
}
inline vget(){
  atomic{ g=head };
  do
  :: atomic{ w0[g]==0 -> c=C }; atomic{ if :: w0[g]==0 -> w0[g]=c :: else fi; c=0 }
  :: atomic{ w0[g]!=0 && w0[g]>s -> g=(nl[g] -> 0 : link[g]&7); assert(g!=0) }
  :: atomic{ w0[g]!=0 && w0[g]<=s -> break }
  od
}
proctype View(byte v){
  byte g,c,s,y;
  atomic{ c=C }; atomic{ act[v]=100+c; c=0 }; atomic{ s=C; C=C+1 }; act[v]=s;
  vget(); y=g; g=0; vget(); assert(g==y); g=0;
  act[v]=0
}
proctype OldView(byte v; byte s0){   /* a view opened long ago with stamp s0 : needs record w0<=s0 */
  byte g,c,s,y; s=s0;
  vget(); y=g; g=0; vget(); assert(g==y); 
  act[v]=0
}
init { atomic{
  link[5]=4; link[4]=3; link[3]=2; link[2]=1;
#ifdef NL
  C=5;
#endif
  w0[1]=1; w0[2]=2; w0[3]=3; w0[4]=4; w0[5]=5;
#ifdef EQ
  w0[3]=2; w0[4]=4; w0[5]=4;
#endif
#ifdef OLDV
  act[0]=OLDV; run OldView(0,OLDV);
#endif
  run Trim(5); run Trim(4);
#ifdef T3
  run Trim(3);
#endif
#ifdef WR
  run Writer();
#endif
#ifdef VW
  run View(1);
#endif
  };
  /* quiescence: one more trim from the head, no view open: chain of one */
  atomic{ _nr_pr==1 -> act[0]=0; act[1]=0; run Trim(head) };
  atomic{ _nr_pr==1 -> assert(nl[head] || (link[head]&7)==0);
     assert(drp[1]&&drp[2]&&drp[3]&&drp[4] && (head==5 || drp[5])) }
}
