/* touch_and_view.pml: a deadline that moves in place (Commit::touch) beside a view that opens. Touches say so in X before they ask for
   views; who shows X meanwhile freezes it. So what the view has is what everybody saw who looked after it was opened.
   RUN: ./run touch_and_view.pml "-DT2"
     -DT2 two touches to the same deadline  -DR2 two readers  -DBACK a touch that moves it, and another that takes it away again
   MUTATIONS, each must be caught:
     BUG_UNSAID         a touch asks for views and says nothing before
     BUG_SHOWN          a reader shows a deadline that is about to move and leaves it at that
     BUG_VIEW_UNFROZEN  the view shows an X that may move
     BUG_BACK           it is taken away in place: a word comes back
   In the code: look = Record::shown_deadline; View = Views::at; record 2 = what Commit::commit puts where a touch can't move it. */
#define OLD 1
#define NEW 2
#define FR 4
#define MV 8
byte slot=1, X=OLD;
bit open=0;          /* the count of views */
bit opened=0;        /* open() has returned */
byte stamp2=0;       /* of record 2: 0 none, 1 before the view, 2 after it */
byte X2=NEW;         /* of record 2 */
byte viewed=0;       /* what the view has shown */
bit old_shown=0;     /* somebody who looked after it was opened has seen the old deadline */
inline ask(){ if :: viewed==NEW -> assert(!old_shown) :: else fi }

proctype Touch(){
  byte x, m;
  /* judged: there, and not past its deadline */
  x=X;
  do
  :: slot!=1 -> break
  :: else ->
     if :: (x&FR)!=0 || open -> goto replace :: else fi;
     if :: (x&3)==NEW -> break :: else fi;
#ifdef BUG_UNSAID
     m=x;
#else
     m=x|MV;
     atomic{ if :: X==x -> X=m; x=0 :: else -> x=X fi };
     if :: x!=0 -> goto next :: else fi;
     if :: open -> goto replace :: else fi;
#endif
     atomic{ if :: X==m -> X=NEW; x=0 :: else -> x=X fi };
     if :: x==0 -> break :: else fi;
next: skip
  od;
  goto end;
replace:
  /* another touch may have been first; else frozen, replaced, stamped: at once here (tests/models/views_and_batches.pml has the steps) */
  atomic{ if :: slot==1 -> X=X|FR; slot=2; stamp2=(open -> 2 : 1) :: else fi };
end: x=0; m=0
}
proctype Back(){
  byte x;
  x=X;
  if :: slot!=1 || (x&FR)!=0 || open -> goto end :: else fi;
  atomic{ if :: X==x -> X=x|MV :: else -> goto end fi };
  if :: open -> goto end :: else fi;
  atomic{ if :: X==(x|MV) -> X=NEW :: else -> goto end fi };
#ifdef BUG_BACK
  atomic{ if :: X==NEW -> X=NEW|MV :: else -> goto end fi };
  if :: open -> goto end :: else fi;
  atomic{ if :: X==(NEW|MV) -> X=OLD :: else -> skip fi };
#else
  atomic{ if :: slot==1 -> X=X|FR; slot=2; X2=OLD; stamp2=(open -> 2 : 1) :: else fi };
#endif
end: x=0
}
proctype View(){
  byte b;
  atomic{ open=1 };
  opened=1;
  atomic{ b=(slot==2 && stamp2==1 -> 2 : 1) };
  if
  :: b==2 -> atomic{ viewed=X2; ask() }
  :: else ->
#ifndef BUG_VIEW_UNFROZEN
     atomic{ X=X|FR };
#endif
     atomic{ viewed=X&3; ask() };
     assert((X&3)==viewed)
  fi;
  b=0
}
proctype Reader(){
  byte x;
  opened==1;
  if
  :: slot==2 -> skip
  :: else ->
     x=X;
#ifndef BUG_SHOWN
     if :: (x&MV)!=0 && (x&FR)==0 -> atomic{ X=X|FR; x=X } :: else fi;
#endif
     if :: (x&3)==OLD -> atomic{ old_shown=1; ask() } :: else fi
  fi;
  x=0
}
init { atomic{
  run Touch(); run View(); run Reader();
#ifdef T2
  run Touch();
#endif
#ifdef BACK
  run Back();
#endif
#ifdef R2
  run Reader();
#endif
} }
