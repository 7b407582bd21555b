package rank

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/ast"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// MaxCost bounds an evaluation, in the steps that the language counts: well below a millisecond.
const MaxCost = 10_000

// The variables of an expression.
const (
	varReplica   = "head.replica"
	varKind      = "head.kind"
	varSize      = "head.size"
	varWrittenAt = "head.writtenAt"
	varHolders   = "head.holders"
	varReplicas  = "replicas"
)

// Check says what is wrong with an expression.
func Check(expression string) error {
	_, err := Compile(expression)
	return err
}

// Compile reads an expression. It takes less than a millisecond, which is little for a conflict: nothing has to be kept.
func Compile(expression string) (*Expression, error) {
	env, err := cel.NewEnv(
		cel.Variable(varReplica, cel.StringType), cel.Variable(varKind, cel.StringType), cel.Variable(varSize, cel.IntType),
		cel.Variable(varWrittenAt, cel.TimestampType), cel.Variable(varHolders, cel.ListType(cel.StringType)),
		cel.Variable(varReplicas, cel.IntType),
		// A literal that can't be read is found now, not in the first conflict.
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
	)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "make environment of expressions: %w", err)
	}
	checked, issues := env.Compile(expression)
	if errs := issues.Errors(); len(errs) > 0 {
		return nil, refuse(errs[0].Location, errs[0].Message)
	}
	tree := checked.NativeRep()
	start := tree.SourceInfo().GetStartLocation(tree.Expr().ID())
	if !slices.ContainsFunc([]*cel.Type{cel.IntType, cel.UintType, cel.DoubleType, cel.BoolType}, checked.OutputType().IsExactType) {
		return nil, refuse(start, "the result is of type "+checked.OutputType().String()+", and must be int, uint, double or bool")
	}
	if where, what := varies(tree); what != "" {
		return nil, refuse(where, what)
	}
	cost, err := env.EstimateCost(checked, sizes{})
	if err != nil {
		return nil, refuse(start, err.Error())
	}
	if cost.Max > MaxCost {
		return nil, refuse(start, fmt.Sprintf("an evaluation may take more than %d steps", MaxCost))
	}
	program, err := env.Program(checked, cel.CostLimit(MaxCost))
	if err != nil {
		return nil, refuse(start, err.Error())
	}
	return &Expression{program: program}, nil
}

// refuse is the error of one problem, in one line and without what only a parser's author needs.
func refuse(at common.Location, problem string) error {
	problem, _, _ = strings.Cut(problem, "\n")
	problem, _, _ = strings.Cut(problem, " expecting {")
	problem = strings.TrimSuffix(strings.TrimPrefix(problem, "Syntax error: "), " (in container '')")
	problem = strings.ReplaceAll(problem, "mismatched input '<EOF>'", "it ends too early")
	if problem == "undeclared reference to 'head'" {
		problem = "this is no field of head" // the variables are the fields; head is none
	}
	return errkind.New(errkind.Invalid, "%d:%d: %s", max(at.Line(), 1), max(at.Column(), 0)+1, problem)
}

// varies finds what two evaluations may not agree about.
func varies(tree *ast.AST) (common.Location, string) {
	where, what := common.Location(common.NoLocation), ""
	found := func(e ast.Expr, text string) {
		if what == "" {
			where, what = tree.SourceInfo().GetStartLocation(e.ID()), text
		}
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.MapKind, ast.StructKind:
			found(e, "maps and messages can't be used: their order is random")
		case ast.CallKind:
			overloads := tree.GetOverloadIDs(e.ID())
			if len(e.AsCall().Args()) > 0 && slices.ContainsFunc(overloads, func(id string) bool { return strings.HasSuffix(id, "_tz") }) {
				found(e, "time zones can't be used: each machine knows its own; times are in UTC")
			}
		default:
		}
	}))
	return where, what
}

// sizes are the largest values of the variables: a group has at most 32 replicas, whose names are DNS labels.
type sizes struct{}

// EstimateSize implements checker.CostEstimator.
func (sizes) EstimateSize(n checker.AstNode) *checker.SizeEstimate {
	switch strings.Join(n.Path(), "/") {
	case varReplica, varKind, varHolders + "/@items":
		return &checker.SizeEstimate{Max: 63}
	case varHolders:
		return &checker.SizeEstimate{Max: 32}
	}
	return nil
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
