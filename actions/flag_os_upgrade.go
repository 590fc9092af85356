package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

// FlagOSUpgrade asks a person to upgrade the operating system.
var FlagOSUpgrade = &Action{
	Name: "flag-os-upgrade",
	Doc: "Leaves a lasting note on this computer that its operating system must be upgraded, to what and by when, and " +
		"tells who is logged in. The upgrade itself is a person's work.",
	Kind:    Remediation,
	Preview: previewFlag,
	Do:      setFlag,
	Verify:  verifyFlag,
	Undo: func(ctx context.Context, h *platform.Host, _ Order) error {
		if err := h.Flags.ClearFlag(ctx, upgradeFlag); err != nil {
			return fmt.Errorf("take note of upgrade back: %w", err)
		}
		return nil
	},
}

const upgradeFlag = "os-upgrade"

func previewFlag(_ context.Context, _ *platform.Host, o Order) (Preview, error) {
	if o.Subject.OS == nil {
		return Preview{}, fmt.Errorf("flag upgrade: this threat is not about the operating system: %w", ErrCannot)
	}
	inverse, err := json.Marshal(map[string]string{"flag": upgradeFlag})
	if err != nil {
		return Preview{}, fmt.Errorf("flag upgrade: %w", err)
	}
	return Preview{
		Steps: []string{
			"leave a note on this computer: " + upgradeText(*o.Subject.OS, o.Terms.By),
			"tell the people who are logged in",
			"wait for a person to do the upgrade",
		},
		Inverse: inverse,
	}, nil
}

// setFlag notes the work before it tells anybody, and tells nobody twice.
func setFlag(ctx context.Context, h *platform.Host, o Order) (Result, error) {
	if o.Subject.OS == nil {
		return Result{}, fmt.Errorf("flag upgrade: this threat is not about the operating system: %w", ErrCannot)
	}
	want := platform.Flag{
		Name: upgradeFlag, Threat: o.Threat, Text: upgradeText(*o.Subject.OS, o.Terms.By),
		To: upgradeTarget(*o.Subject.OS), By: o.Terms.By, Set: o.Now,
	}
	if before, err := h.Flags.Flag(ctx, upgradeFlag); err == nil && before != nil && before.Text == want.Text {
		want.Told, want.Set = before.Told, before.Set
	}
	if err := h.Flags.SetFlag(ctx, want); err != nil {
		return Result{}, fmt.Errorf("note upgrade: %w", err)
	}
	result := Result{Done: []string{"left a note: " + want.Text}, Waits: "person"}
	if len(want.Told) > 0 {
		return result, nil
	}
	platform.FaultPoint("flag-os-upgrade: before notice")
	told, err := h.Notifier.Notify(ctx, upgradeNotice(*o.Subject.OS, o.Terms))
	switch {
	case err != nil:
		result.Done = append(result.Done, fmt.Sprintf("nobody could be told: %v", err))
		return result, nil
	case len(told) == 0:
		result.Done = append(result.Done, "nobody was logged in who could be told")
		return result, nil
	}
	result.Done = append(result.Done, "told "+strings.Join(told, ", "))
	want.Told = told
	if err := h.Flags.SetFlag(ctx, want); err != nil {
		return Result{}, fmt.Errorf("note who was told: %w", err)
	}
	return result, nil
}

func verifyFlag(ctx context.Context, h *platform.Host, o Order) (Effect, error) {
	flag, err := h.Flags.Flag(ctx, upgradeFlag)
	switch {
	case err != nil:
		return Effect{}, fmt.Errorf("read note of upgrade: %w", err)
	case flag == nil:
		return Effect{Detail: "the note is not there"}, nil
	case o.Subject.OS != nil && flag.Text != upgradeText(*o.Subject.OS, o.Terms.By):
		return Effect{Detail: "the note says something else: " + flag.Text}, nil
	}
	return Effect{InForce: true, Detail: "the note is there: " + flag.Text}, nil
}

func upgradeTarget(os platform.OSSubject) string {
	if os.UpgradeTo == "" {
		return "a release that gets security updates"
	}
	return os.UpgradeTo
}

// upgradeText is what is to be done: "upgrade Debian 10 (buster) to Debian 13
// (trixie) by 2026-12-01".
func upgradeText(os platform.OSSubject, by time.Time) string {
	text := fmt.Sprintf("upgrade %s to %s", osName(os), upgradeTarget(os))
	if !by.IsZero() {
		text += " by " + by.Format(time.DateOnly)
	}
	return text
}

// upgradeNotice is what the people at the computer are shown.
func upgradeNotice(os platform.OSSubject, terms Terms) string {
	lines := []string{
		fmt.Sprintf("This computer runs %s, %s.", osName(os), supportSentence(os)),
		fmt.Sprintf("Please %s.", upgradeText(os, terms.By)),
	}
	if terms.Contact != "" {
		lines = append(lines, terms.Contact)
	}
	return strings.Join(lines, "\n")
}

func osName(os platform.OSSubject) string {
	if os.Name != "" {
		return os.Name
	}
	return strings.TrimSpace(os.ID + " " + os.Version)
}

func supportSentence(os platform.OSSubject) string {
	since, after := "", ""
	if os.SupportEnds != "" {
		since, after = " since "+os.SupportEnds, " after "+os.SupportEnds
	}
	switch os.Verdict {
	case platform.Ended:
		return "which gets no security updates any more" + since
	case platform.EndingSoon:
		return "which gets no security updates" + after
	case platform.ExtendedNotEntitled:
		return "which gets security updates" + after + " only with a contract that this computer does not have"
	}
	return "which has to be replaced"
}
