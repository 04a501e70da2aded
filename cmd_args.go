package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// argument is a place in the usage line of a command, such as SERVER or IMAGE...
type argument struct {
	name string
	many bool
}

var argumentNames = regexp.MustCompile(`^[A-Z]+(\[:PORT\])?(\.\.\.)?$`)

// argumentsOf are the arguments in a command's usage line; what flags take is none.
func argumentsOf(cmd *cobra.Command) []argument {
	var out []argument
	flag := false
	for _, word := range strings.Fields(cmd.Use)[1:] {
		switch {
		case strings.HasPrefix(word, "--"):
			flag = true
			continue
		case !flag && argumentNames.MatchString(word):
			name, many := strings.CutSuffix(word, "...")
			out = append(out, argument{name: name, many: many})
		}
		flag = false
	}
	return out
}

// nameArgument says which argument is missing, or which one is too much, where cobra only counted them.
func nameArgument(cmd *cobra.Command, args []string, counted error) error {
	want := argumentsOf(cmd)
	switch {
	case counted == nil:
		return nil
	case len(args) < len(want):
		return fmt.Errorf("%s is missing: %s", want[len(args)].name, cmd.UseLine())
	case len(args) == len(want):
		return counted
	case len(want) == 0:
		return fmt.Errorf("%s takes no arguments, and %q is one", cmd.CommandPath(), args[0])
	}
	return fmt.Errorf("%q is one argument too many: %s", args[len(want)], cmd.UseLine())
}
