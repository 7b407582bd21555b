----------------------------- MODULE Bucketmesh -----------------------------
(* One key of a group: what docs/algorithm.md says, with the steps of pkg/reconcile/plan.                               *)
(* Every action ends where the program waits for a bucket or for the store; between two actions anything may happen.    *)
(* A content is the set of the user operations whose bytes it has: {} is absence, a merge has several.                  *)
(* A version is a value; nobody has to forget it (plan.Prune), and nobody can change it by accident (plan.Clone).       *)
(* `past` is for the invariants alone: the user operations that are truly in the past of an object or a version.        *)
EXTENDS Integers, Sequences, FiniteSets

CONSTANTS N,           \* replicas, 1..N; 0 stands for the synchronizer, ~ in the code
          Workers,     \* processes that work at the key
          MaxOps,      \* operations of users
          MaxCrashes,  \* of workers, and requests that take longer than their lease; a lost answer is a crash after the request
          Restores,    \* users also restore and copy old objects, with our metadata
          Merging      \* the policy merges, otherwise the highest rank wins

VARIABLES bucket,   \* what each replica holds: content, tag (0 for absence), nonce, and two for the invariants
          row,      \* what the store says of each replica: version, tentative version (a set of at most one), tag
          ctr,      \* the last dot of each replica, and of the synchronizer
          intents,  \* of the row: nonce, replica, version, expected tag, and whether the lease lasts
          kept,     \* contents in conflict copies
          worker,   \* where each worker is. fresh: nobody has stored the row since it was read
          ops,      \* what users did: content, and the operations that it followed
          old,      \* contents and nonces of objects that are gone
          crashes

vars == <<bucket, row, ctr, intents, kept, worker, ops, old, crashes>>
Replicas == 1..N
Dots == 0..N
Max(S) == CHOOSE x \in S : \A y \in S : y <= x
Min(S) == CHOOSE x \in S : \A y \in S : x <= y
The(S) == CHOOSE x \in S : TRUE

Genesis == [vec |-> [d \in Dots |-> 0], content |-> {}, rank |-> 0, past |-> {}]
Blank == [ver |-> Genesis, tent |-> {}, tag |-> 0]
Idle == [pc |-> "idle", fresh |-> FALSE]

Init == /\ bucket = [r \in Replicas |-> [content |-> {}, tag |-> 0, nonce |-> <<>>, past |-> {}, acked |-> FALSE]]
        /\ row = [r \in Replicas |-> Blank]
        /\ ctr = [d \in Dots |-> 0]
        /\ worker = [w \in Workers |-> Idle]
        /\ intents = {} /\ kept = {} /\ ops = <<>> /\ old = {} /\ crashes = 0

-----------------------------------------------------------------------------
(* Tags and nonces. A new one is the least that nobody remembers: the same as one that was never given, and fewer states. *)

Numbers == 1..20
TagsOf(me) == CASE me.pc = "idle" -> {}
                [] me.pc = "look" -> {me.seen[r].tag : r \in DOMAIN me.seen}
                [] me.pc = "preserve" -> {l.tag : l \in me.lose}
                [] me.pc \in {"read", "write"} -> {me.pin} \cup {o.expect : o \in me.todo} \cup {d.tag : d \in me.done}
NoncesOf(me) == CASE me.pc \in {"idle", "preserve"} -> {}
                  [] me.pc = "look" -> me.over \cup {me.seen[r].nonce : r \in DOMAIN me.seen}
                  [] me.pc \in {"read", "write"} -> {o.nonce : o \in me.todo \cup me.done \cup me.undo}

NewTag == LET used == {bucket[r].tag : r \in Replicas} \cup {row[r].tag : r \in Replicas} \cup {i.expect : i \in intents}
                      \cup UNION {TagsOf(worker[w]) : w \in Workers}
          IN Min(Numbers \ used)
NewNonce(r) == LET used == {bucket[q].nonce : q \in Replicas} \cup {i.nonce : i \in intents} \cup {o.nonce : o \in old}
                           \cup UNION {NoncesOf(worker[w]) : w \in Workers}
               IN <<r, Min({n \in Numbers : <<r, n>> \notin used})>>

-----------------------------------------------------------------------------
(* Users. They write with their own tools to any replica, and follow what it holds (A1). *)

Discarded(o) == IF Restores /\ o.content # {} THEN {[content |-> o.content, nonce |-> o.nonce]} ELSE {}

UserWrites(r, content, nonce) ==
  /\ Len(ops) < MaxOps
  /\ ops' = Append(ops, [content |-> content, past |-> bucket[r].past])
  /\ bucket' = [bucket EXCEPT ![r] = [content |-> content, tag |-> IF content = {} THEN 0 ELSE NewTag, nonce |-> nonce,
                                      past |-> bucket[r].past \cup {Len(ops) + 1}, acked |-> FALSE]]
  /\ old' = old \cup Discarded(bucket[r])
  /\ UNCHANGED <<row, ctr, intents, kept, worker, crashes>>

User == \E r \in Replicas :
  \/ UserWrites(r, {Len(ops) + 1}, <<>>)
  \/ bucket[r].content # {} /\ UserWrites(r, {}, <<>>)
  \/ \E o \in old \cup UNION {Discarded(bucket[q]) : q \in Replicas} :
       o.content # bucket[r].content /\ UserWrites(r, o.content, o.nonce)

-----------------------------------------------------------------------------
(* Versions, and what the row says of them. *)

Leq(u, v) == \A d \in Dots : u.vec[d] <= v.vec[d]
Eff(p) == IF p.tent = {} THEN p.ver ELSE The(p.tent)                                    \* plan.Effective

Heads(rw) == LET all == {Eff(rw[r]) : r \in Replicas}                                   \* plan.Heads, plan.Lookup
             IN {v \in all : \A u \in all : Leq(v, u) => Leq(u, v)}

\* A new version on top of several, by the synchronizer: a join (plan.Plan), a resolution (plan.Resolve), a merge (plan.Merge).
Above(H, content, rank) ==
  [vec |-> [d \in Dots |-> IF d = 0 THEN ctr[0] + 1 ELSE Max({v.vec[d] : v \in H})],
   content |-> content, rank |-> rank, past |-> UNION {v.past : v \in H}]

\* The provider's clock, at its worst: what is written later looks older.
Clock(o) == IF o.content = {} THEN 0 ELSE MaxOps - Max(o.content)
Winner(H) == The({v \in H : \A u \in H : u.rank <= v.rank})

\* plan.Settled: every replica holds the same version, proven, and nobody is about to write. plan.Gone: and that is absence.
Settled(rw, its) == its = {} /\ \A r \in Replicas : rw[r].tent = {} /\ rw[r].ver = rw[1].ver
Forgotten(rw, its) == IF Settled(rw, its) /\ rw[1].ver.content = {} THEN [r \in Replicas |-> Blank] ELSE rw

\* A compare-and-set by w, which goes on as `me`: whoever has read the row before has to read it again.
Store(w, me, rw, c, its) ==
  /\ row' = rw /\ ctr' = c /\ intents' = its
  /\ worker' = [v \in Workers |-> IF v = w THEN me
                                  ELSE IF rw = row /\ c = ctr /\ its = intents THEN worker[v]
                                  ELSE [worker[v] EXCEPT !.fresh = FALSE]]
GiveUp(w) == worker' = [worker EXCEPT ![w] = Idle] /\ UNCHANGED <<row, ctr, intents>>

-----------------------------------------------------------------------------
(* Lines 1 and 2: read the row, and look at replicas, in any order. Whoever was not looked at, because of a fast path or   *)
(* because it did not answer, is taken at the row's word. `over` are intents whose lease had ended before.                  *)

Look(w, r) ==
  LET me == worker[w]
  IN /\ \/ /\ me.pc = "idle"
           /\ worker' = [worker EXCEPT ![w] = [pc |-> "look", fresh |-> TRUE, seen |-> [q \in {r} |-> bucket[q]],
                                               over |-> {i.nonce : i \in {j \in intents : ~j.live}}]]
        \/ /\ me.pc = "look" /\ me.fresh /\ r \notin DOMAIN me.seen
           /\ worker' = [worker EXCEPT ![w].seen =
                [q \in DOMAIN me.seen \cup {r} |-> IF q = r THEN bucket[r] ELSE me.seen[q]]]
     /\ UNCHANGED <<bucket, row, ctr, intents, kept, ops, old, crashes>>

(* Line 3: plan.Plan. What was seen at a replica is what the row says (plan.Unchanged), our own write, or a user's. *)

At(r) == {i \in intents : i.rep = r}

Ours(r, o) == {i \in At(r) : /\ i.expect = row[r].tag                                   \* R3: live, once, and only its content
                             /\ i.ver.content = o.content
                             /\ o.content = {} \/ i.nonce = o.nonce}

UserVersion(r, o) == LET parent == row[r].ver                                           \* R1: never the tentative version
  IN [vec |-> [parent.vec EXCEPT ![r] = ctr[r] + 1], content |-> o.content, past |-> o.past,
      rank |-> Max({Clock(o), parent.rank + 1} \cup {i.ver.rank + 1 : i \in At(r)})]    \* R4: above every intent

Said(r, seen) == IF r \notin DOMAIN seen THEN "nothing"
                 ELSE IF seen[r].tag = row[r].tag THEN "unchanged"
                 ELSE IF Ours(r, seen[r]) # {} THEN "ours" ELSE "user"

Absorbed(seen) == [r \in Replicas |->
  CASE Said(r, seen) = "nothing"   -> row[r]
    [] Said(r, seen) = "unchanged" -> [row[r] EXCEPT !.ver = Eff(row[r]), !.tent = {}]
    [] Said(r, seen) = "ours"      -> [ver |-> The(Ours(r, seen[r])).ver, tent |-> {}, tag |-> seen[r].tag]
    [] Said(r, seen) = "user"      -> [ver |-> UserVersion(r, seen[r]), tent |-> {}, tag |-> seen[r].tag]]

Remaining(seen, over) == UNION {
  CASE Said(r, seen) = "nothing"   -> At(r)
    [] Said(r, seen) = "unchanged" -> {i \in At(r) : i.nonce \notin over}               \* it did not land
    [] Said(r, seen) = "ours"      -> At(r) \ {The(Ours(r, seen[r]))}                   \* consumed
    [] Said(r, seen) = "user"      -> {} : r \in Replicas}                              \* docs/adr/0005

Tentatively(rw, which(_), v) ==
  [r \in Replicas |-> IF which(rw[r]) THEN [rw[r] EXCEPT !.tent = {v}] ELSE rw[r]]

Commit(w) ==
  LET me     == worker[w]
      its    == Remaining(me.seen, me.over)
      first  == Absorbed(me.seen)
      heads  == Heads(first)
      same   == \A u, v \in heads : u.content = v.content
      joins  == same /\ Cardinality(heads) > 1
      join   == Above(heads, The(heads).content, Max({v.rank : v \in heads}))
      target == IF joins THEN join ELSE The(heads)
      alike(p) == Eff(p) # target /\ (Eff(p) \in heads \/ Eff(p).content = target.content)
      next   == IF same THEN Tentatively(first, alike, target) ELSE first
      c      == [d \in Dots |-> IF d = 0 THEN ctr[0] + (IF joins THEN 1 ELSE 0)
                                ELSE ctr[d] + (IF Said(d, me.seen) = "user" THEN 1 ELSE 0)]
      \* Where another write may still be under way, or has an unknown end and was not looked at, we wait.
      dests  == {r \in Replicas : Eff(next[r]) # target /\ \A i \in its : i.rep = r => ~i.live /\ r \in DOMAIN me.seen}
      orders == {[rep |-> r, nonce |-> NewNonce(r), expect |-> next[r].tag] : r \in dests}
      losers == {v \in heads : (Merging \/ v # Winner(heads)) /\ v.content # {}}
  IN /\ me.pc = "look"
     /\ IF ~me.fresh THEN GiveUp(w)
        ELSE IF ~same THEN                                                              \* line 4: conflict.detected
          Store(w, [pc |-> "preserve", fresh |-> TRUE,
                       lose |-> {LET r == The({q \in Replicas : Eff(first[q]) = v}) IN [rep |-> r, tag |-> first[r].tag] : v \in losers}],
                   first, c, its)
        ELSE IF dests = {} THEN Store(w, Idle, Forgotten(next, its), c, its)   \* line 6
        ELSE \E src \in {r \in Replicas : Eff(next[r]) = target} :                      \* line 5a: plan.Intend
          /\ Store(w, [pc |-> IF target.content = {} THEN "write" ELSE "read", fresh |-> TRUE, ver |-> target, src |-> src,
                       pin |-> next[src].tag, body |-> {}, todo |-> orders, done |-> {}, undo |-> {}],
                   next, c, its \cup {[nonce |-> o.nonce, rep |-> o.rep, ver |-> target, expect |-> o.expect, live |-> TRUE] : o \in orders})
     /\ UNCHANGED <<bucket, kept, ops, old, crashes>>

-----------------------------------------------------------------------------
(* Line 4. *)

Preserve(w) == LET me == worker[w] IN                                                   \* 4a and 4b, one loser after the other
  /\ me.pc = "preserve" /\ me.lose # {}
  /\ LET l == The(me.lose) IN
       IF bucket[l.rep].tag = l.tag
       THEN kept' = kept \cup bucket[l.rep].content /\ worker' = [worker EXCEPT ![w].lose = me.lose \ {l}]
       ELSE kept' = kept /\ worker' = [worker EXCEPT ![w] = Idle]
  /\ UNCHANGED <<bucket, row, ctr, intents, ops, old, crashes>>

Resolve(w) == LET me == worker[w]                                                       \* 4c: plan.Resolve
                  won == Winner(Heads(row))
                  v == Above(Heads(row), won.content, won.rank)                         \* R5: the winner's own rank
                  holds(p) == Eff(p) = won
  IN /\ me.pc = "preserve" /\ me.lose = {}
     /\ IF me.fresh THEN Store(w, Idle, Tentatively(row, holds, v), [ctr EXCEPT ![0] = @ + 1], intents) ELSE GiveUp(w)
     /\ UNCHANGED <<bucket, kept, ops, old, crashes>>

Merge(w) == LET me == worker[w]      \* 4c: plan.Merge, plan.Intend. A refused one is tried once more, then somebody has to look
                H == Heads(row)
                v == Above(H, UNION {h.content : h \in H}, Min({h.rank : h \in H}))
  IN /\ Merging /\ me.pc = "preserve" /\ me.fresh /\ \A h \in H : h.content # {}
     /\ \E r \in {q \in Replicas : Eff(row[q]) \in H /\ Cardinality(At(q)) < 2 /\ \A i \in At(q) : ~i.live} :
          Store(w, [pc |-> "write", fresh |-> TRUE, ver |-> v, pin |-> 0, body |-> v.content, done |-> {}, undo |-> {},
                    todo |-> {[rep |-> r, nonce |-> NewNonce(r), expect |-> row[r].tag]}],
                row, [ctr EXCEPT ![0] = @ + 1],
                intents \cup {[nonce |-> NewNonce(r), rep |-> r, ver |-> v, expect |-> row[r].tag, live |-> TRUE]})
     /\ UNCHANGED <<bucket, kept, ops, old, crashes>>

-----------------------------------------------------------------------------
(* Line 5. *)

Read(w) == LET me == worker[w] IN                                                       \* 5b: pinned; otherwise nothing is written
  /\ me.pc = "read"
  /\ worker' = [worker EXCEPT ![w] = IF bucket[me.src].tag = me.pin
                                     THEN [me EXCEPT !.pc = "write", !.body = bucket[me.src].content]
                                     ELSE [me EXCEPT !.pc = "write", !.todo = {}, !.undo = me.todo]]
  /\ UNCHANGED <<bucket, row, ctr, intents, kept, ops, old, crashes>>

Write(w) == LET me == worker[w] IN                                                      \* 5c: conditional; a refusal concludes nothing
  /\ me.pc = "write"
  /\ \E o \in me.todo :
       IF bucket[o.rep].tag = o.expect
       THEN LET tag == IF me.body = {} THEN 0 ELSE NewTag
            IN /\ bucket' = [bucket EXCEPT ![o.rep] = [content |-> me.body, tag |-> tag, past |-> me.ver.past, acked |-> FALSE,
                                                       nonce |-> IF me.body = {} THEN <<>> ELSE o.nonce]]
               /\ old' = old \cup Discarded(bucket[o.rep])
               /\ worker' = [worker EXCEPT ![w] = [me EXCEPT !.todo = me.todo \ {o},
                                                             !.done = me.done \cup {[rep |-> o.rep, nonce |-> o.nonce, tag |-> tag]}]]
       ELSE worker' = [worker EXCEPT ![w] = [me EXCEPT !.todo = me.todo \ {o}]] /\ UNCHANGED <<bucket, old>>
  /\ UNCHANGED <<row, ctr, intents, kept, ops, crashes>>

Acknowledge(w) == LET me == worker[w]                                                   \* 5e: plan.Written, plan.Withdraw, plan.Refused
                      at(r) == {d \in me.done : d.rep = r}
                      rw == [r \in Replicas |-> IF at(r) = {} THEN row[r] ELSE [ver |-> me.ver, tent |-> {}, tag |-> The(at(r)).tag]]
                      its == {i \in intents : \A d \in me.done \cup me.undo : d.nonce # i.nonce}
  IN /\ me.pc = "write" /\ me.todo = {}
     /\ IF me.fresh THEN
          /\ Store(w, Idle, Forgotten(rw, its), ctr, its)
          /\ bucket' = [r \in Replicas |-> [bucket[r] EXCEPT !.acked = @ \/ \E d \in at(r) : d.tag = bucket[r].tag]]
        ELSE GiveUp(w) /\ UNCHANGED bucket
     /\ UNCHANGED <<kept, ops, old, crashes>>

-----------------------------------------------------------------------------
(* What else happens. A request ends before the lease of its intent does: nothing is written under it any more. That is the  *)
(* end of an intent whose writer died or was refused; of one who is still at it, it is a fault that counts as a crash.     *)

LeaseEnds(i) == /\ intents' = (intents \ {i}) \cup {[i EXCEPT !.live = FALSE]}
                /\ worker' = [w \in Workers |-> IF worker[w].pc \in {"read", "write"}
                                                THEN [worker[w] EXCEPT !.todo = {o \in @ : o.nonce # i.nonce}] ELSE worker[w]]
                /\ UNCHANGED <<bucket, row, ctr, kept, ops, old>>

Live == {i \in intents : i.live}
Wanted(i) == \E w \in Workers : worker[w].pc \in {"read", "write"} /\ \E o \in worker[w].todo : o.nonce = i.nonce

Crash == /\ crashes < MaxCrashes /\ crashes' = crashes + 1
         /\ \/ \E i \in Live : Wanted(i) /\ LeaseEnds(i)
            \/ \E w \in Workers : /\ worker[w].pc # "idle" /\ worker' = [worker EXCEPT ![w] = Idle]
                                  /\ UNCHANGED <<bucket, row, ctr, intents, kept, ops, old>>

Work == \/ \E i \in Live : ~Wanted(i) /\ LeaseEnds(i) /\ UNCHANGED crashes
        \/ \E w \in Workers : \/ \E r \in Replicas : Look(w, r)
                              \/ Commit(w) \/ Preserve(w) \/ Resolve(w) \/ Merge(w) \/ Read(w) \/ Write(w) \/ Acknowledge(w)

Next == User \/ Crash \/ Work
Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* Invariants, by their names in docs/algorithm.md. *)

\* Equal bytes are one content: who has seen them in one replica has seen them. But only what follows can overwrite.
Knows(past, k) == \E j \in past : ops[j].content = ops[k].content
Tops(past) == {k \in past : \A j \in past : k \notin ops[j].past}
Overwritten(k) == \E j \in DOMAIN ops : j > k /\ Knows(ops[j].past, k)
Held == kept \cup UNION {bucket[r].content : r \in Replicas}
Quiet == /\ \A w \in Workers : worker[w].pc = "idle"
         /\ Settled(row, intents)
         /\ \A r \in Replicas : row[r].tag = bucket[r].tag

I1 == \A k \in DOMAIN ops : ops[k].content \subseteq Held \/ Overwritten(k)

I2 == Quiet => \A r \in Replicas : bucket[r].content = bucket[1].content

\* A delete that followed may have been undone (R2). Of a merge, one part is maximal.
Maximal(k) == LET after == {j \in DOMAIN ops : k \in ops[j].past} IN after = {} \/ \E j \in after : ops[j].content = {}
I3 == Quiet /\ ops # <<>> => \E k \in DOMAIN ops :
  /\ Maximal(k)
  /\ IF bucket[1].content = {} THEN ops[k].content = {} ELSE ops[k].content # {} /\ ops[k].content \subseteq bucket[1].content

\* What the row says that a replica follows, it follows; or it is preserved, or a user has overwritten it.
I4 == \A q, r \in Replicas :
  row[r].tag = bucket[r].tag /\ Leq(row[q].ver, row[r].ver) =>
    \A k \in Tops(row[q].ver.past) : Knows(bucket[r].past, k) \/ ops[k].content \subseteq kept \/ Overwritten(k)

\* An acknowledged write of ours never becomes a user's version.
I5 == [][\A r \in Replicas : ctr'[r] # ctr[r] /\ row'[r].tag = bucket[r].tag => ~bucket[r].acked]_vars

\* What we are about to overwrite is in the past of what we write, or is preserved.
I6 == \A w \in Workers : worker[w].pc = "write" =>
  \A o \in worker[w].todo : bucket[o.rep].tag = o.expect =>
    \A k \in Tops(bucket[o.rep].past) : Knows(worker[w].ver.past, k) \/ ops[k].content \subseteq kept
=============================================================================
