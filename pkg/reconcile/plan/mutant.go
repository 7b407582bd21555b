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
	}
}
