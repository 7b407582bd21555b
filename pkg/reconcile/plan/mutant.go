package plan

// Mutant is a fault that the simulator can switch on to prove that its checks find it. It is the zero value (no
// fault) everywhere else; nothing but tests can set it, because Config.Mutant is not reachable from a configuration.
type Mutant string

// The mutants, each a design that looked right.
const (
	None              Mutant = ""
	UnconditionalPut  Mutant = "unconditional-put"
	UnconditionalDel  Mutant = "unconditional-delete"
	UnpinnedRead      Mutant = "unpinned-read"
	OverwriteFirst    Mutant = "overwrite-before-preserve"
	StateFirst        Mutant = "state-before-bucket"
	NoNonce           Mutant = "no-nonce"
	NonceForever      Mutant = "nonce-for-ever"
	NoLease           Mutant = "no-lease"
	EagerJoin         Mutant = "eager-join"
	RankUp            Mutant = "rank-up"
	NonceNotConsumed  Mutant = "nonce-not-consumed"
	ProviderClockRank Mutant = "provider-clock-rank"

	TentativeParent  Mutant = "tentative-parent"
	UnseenConfirm    Mutant = "unseen-confirm"
	AdoptAnyContent  Mutant = "adopt-any-content"
	MetaBlind        Mutant = "metadata-ignored"
	ReadOnlyWrites   Mutant = "read-only-writes"
	JoinedLineage    Mutant = "joined-lineage"
	LineageLost      Mutant = "lineage-lost"
	MayFollowLost    Mutant = "may-follow-lost"
	NewestHead       Mutant = "newest-head"
	DotsRestart      Mutant = "dots-restart"
	OneNonce         Mutant = "one-nonce"
	TentativeSettles Mutant = "tentative-settles"
	RowGoneEarly     Mutant = "row-gone-early"
	TimeoutFailed    Mutant = "timeout-is-failure"
	TimeoutDone      Mutant = "timeout-is-success"
	RefusedDone      Mutant = "refusal-is-success"
	DeniedAbsent     Mutant = "denied-is-absent"
	ErrorAbsent      Mutant = "error-is-absent"
	OneLook          Mutant = "one-look"
	HintBelieved     Mutant = "hint-believed"
	NoVerify         Mutant = "copy-unverified"
	OneCopy          Mutant = "one-copy"
	KeepNothing      Mutant = "keep-nothing"
	FirstHeadWins    Mutant = "first-head-wins"
	EventLost        Mutant = "event-outside"
	IntentUnstored   Mutant = "intent-unstored"
	EchoForever      Mutant = "echo-for-ever"
	CleanUnknown     Mutant = "clean-while-unknown"
	NoRecovery       Mutant = "no-recovery"
	HintForgotten    Mutant = "hint-forgotten"
	UploadLeft       Mutant = "upload-left"
	Revocable        Mutant = "revocable-adopted"
	NoMetageneration Mutant = "no-metageneration"
)

// Mutants are all of them with what each does.
func Mutants() map[Mutant]string {
	return map[Mutant]string{
		UnconditionalPut:  "line 5c writes without a precondition",
		UnconditionalDel:  "line 5c deletes without a precondition",
		UnpinnedRead:      "line 5b reads whatever the source holds now",
		OverwriteFirst:    "line 4c comes before 4a: the loser is preserved after the resolution is committed",
		StateFirst:        "line 5e comes before 5c: the row says that a replica was written before it was",
		NoNonce:           "our writes carry no nonce and leave no intent",
		NonceForever:      "a nonce is trusted whether or not its intent lives (R3)",
		NoLease:           "intents outlive their lease when a user version is found",
		EagerJoin:         "equal contents are joined at once instead of tentatively (R1)",
		RankUp:            "a resolved version ranks above its winner (R5)",
		NonceNotConsumed:  "an adopted nonce stays live",
		ProviderClockRank: "a version's rank is the provider's clock alone (R4)",

		TentativeParent:  "a user's version follows the tentative version of its replica, which nothing has proven",
		UnseenConfirm:    "a tentative version is confirmed without a look at its replica",
		AdoptAnyContent:  "our nonce is enough to adopt an object, whatever it holds",
		MetaBlind:        "equal bytes count as equal, whatever the metadata",
		ReadOnlyWrites:   "what is written at a ReadOnly replica follows what was there",
		JoinedLineage:    "a join has the lineage of all its heads, which nobody has seen (R7)",
		LineageLost:      "a resolution has no lineage: nobody who edits the winner is known to have seen it (R7)",
		MayFollowLost:    "a user's version does not say what it may follow (R7)",
		NewestHead:       "of several heads the newest is the target, without a conflict",
		DotsRestart:      "the dots of a key start again when its row was removed",
		OneNonce:         "all intents have the same nonce",
		TentativeSettles: "a key is clean although a version is tentative",
		RowGoneEarly:     "a row is removed although an intent lives",
		TimeoutFailed:    "a write that was not answered counts as one that failed: its intent goes at once",
		TimeoutDone:      "a write that was not answered counts as done",
		RefusedDone:      "a write whose condition did not hold counts as done",
		DeniedAbsent:     "a look that is not permitted counts as absence",
		ErrorAbsent:      "a look that fails counts as absence",
		OneLook:          "one look proves a delete",
		HintBelieved:     "a notification of a delete is believed without a look",
		NoVerify:         "line 4b is left out: a conflict copy is not verified",
		OneCopy:          "the key of a conflict copy does not name its version",
		KeepNothing:      "losers are not preserved",
		FirstHeadWins:    "the first of the heads wins, whatever the policy says",
		EventLost:        "events are not in the transaction, and get lost",
		IntentUnstored:   "line 5a does not store the intents",
		EchoForever:      "any number of events with the tag of our own write are its echo",
		CleanUnknown:     "a key is clean although a replica did not answer",
		NoRecovery:       "line 5d is left out",
		HintForgotten:    "a version that an event told of is forgotten if it could not be looked for",
		UploadLeft:       "the uploads of intents that are given up are not aborted",
		Revocable:        "a write that its driver may take back is adopted at once",
		NoMetageneration: "a write does not demand the metageneration",
	}
}
