package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// counter shows how something comes along that is done for many keys, on standard error.
type counter interface {
	update(d worker.Done)
	end(d *worker.Done) // nil: nothing is known of it
}

func (a *App) newCounter(mode, what string) counter {
	if mode == "auto" {
		mode = "plain"
		if a.screen() {
			mode = "bar"
		}
	}
	switch mode {
	case "bar":
		all := mpb.New(mpb.WithOutput(a.Err), mpb.WithWidth(40), mpb.WithAutoRefresh())
		return &counterBar{all: all, bar: all.New(0, mpb.BarStyle().Rbound("]").Lbound("["),
			mpb.PrependDecorators(decor.CountersNoUnit("%d / %d keys ")), mpb.AppendDecorators(decor.Name(" "+what)))}
	case "plain":
		return &counterPlain{w: a.Err, what: what}
	}
	return silent{}
}

type silent struct{}

func (silent) update(worker.Done) {}
func (silent) end(*worker.Done)   {}

type counterPlain struct {
	w    io.Writer
	what string
	last time.Time
}

func (c *counterPlain) update(d worker.Done) {
	if time.Since(c.last) >= plainEvery {
		c.last = time.Now()
		c.end(&d)
	}
}

func (c *counterPlain) end(d *worker.Done) {
	if d != nil {
		fmt.Fprintf(c.w, "%d of %d keys %s\n", d.Keys, max(d.All, d.Keys), c.what)
	}
}

type counterBar struct {
	all *mpb.Progress
	bar *mpb.Bar
}

func (c *counterBar) update(d worker.Done) {
	c.bar.SetTotal(max(d.All, d.Keys+1), false)
	c.bar.SetCurrent(d.Keys)
}

func (c *counterBar) end(d *worker.Done) {
	if d != nil && d.Keys > 0 {
		c.bar.SetCurrent(d.Keys)
		c.bar.SetTotal(d.Keys, true)
	}
	if !c.bar.Completed() {
		c.bar.Abort(false)
	}
	c.all.Wait()
}

func progressFlag(cmd *cobra.Command, show *string) {
	cmd.Flags().StringVar(show, "progress", "auto", "how to show progress on standard error: "+strings.Join(progressModes, ", "))
	_ = cmd.RegisterFlagCompletionFunc("progress", cobra.FixedCompletions(progressModes, cobra.ShellCompDirectiveNoFileComp))
}

func checkProgress(show string) error {
	if show != "" && !slices.Contains(progressModes, show) {
		return usageError{fmt.Errorf("the flag --progress must be one of %s, not %q", strings.Join(progressModes, ", "), show)}
	}
	return nil
}
