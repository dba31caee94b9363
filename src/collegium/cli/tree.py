"""Which commands there are, and where each one lives; help is printed without loading any of them."""

import click

from collegium.cli.shell import Branch, Command, Twig, screen_of

CLI = "collegium.cli"
COORDINATOR = Branch(
    "coordinator",
    "The coordinator: serves tasks, adds updates, holds no patient.",
    {
        "init": Twig(f"{CLI}.coordinator:init", "Make a folder for a new federation: keys, certificate, database."),
        "serve": Twig(f"{CLI}.coordinator:serve", "Run the coordinator until Ctrl-C."),
        "status": Twig(f"{CLI}.coordinator:status", "The federation at a glance: sites and runs."),
    },
)
STEWARD = Branch(
    "steward",
    "The data steward's own key, which approves studies.",
    {
        "init": Twig(f"{CLI}.steward:init", "Make the steward's key, encrypted with a passphrase."),
        "passphrase": Twig(f"{CLI}.steward:passphrase", "Change the passphrase; approvals stay."),
        "show": Twig(f"{CLI}.steward:show", "The fingerprints that a steward reads out by phone."),
    },
)
INVITE = Branch(
    "invite",
    "Studies that ask for this hospital, and its steward's yes or no.",
    {
        "list": Twig(f"{CLI}.invite:list_invites", "The studies that ask for this hospital."),
        "show": Twig(f"{CLI}.invite:show", "What a study wants: columns, what leaves, who takes part."),
        "approve": Twig(f"{CLI}.invite:approve", "Approve a study, with the steward's passphrase."),
        "decline": Twig(f"{CLI}.invite:decline", "Decline a study, and say why."),
    },
)
SITE = Branch(
    "site",
    "A hospital: join a federation, run its agent, see what left.",
    {
        "invite": Twig(f"{CLI}.coordinator:invite", "Mint a join code for one hospital (at the coordinator)."),
        "join": Twig(f"{CLI}.site:join", "Make this machine a site of a federation, by its join code."),
        "serve": Twig(f"{CLI}.site:serve", "Run this hospital's agent until Ctrl-C."),
        "status": Twig(f"{CLI}.site:status", "What this site is doing, and what has left it."),
        "console": Twig(f"{CLI}.site:console", "This hospital's own pages in a browser: invitations, work, models."),
        "steward": STEWARD,
        "doctor": Twig(f"{CLI}.site:doctor", "Find out which hop on the way to the coordinator fails."),
    },
)
DATA = Branch(
    "data",
    "This hospital's tables; they stay here.",
    {
        "add": Twig(f"{CLI}.data:add", "Make a file known to the agent under a name."),
        "list": Twig(f"{CLI}.data:list_tables", "The tables that the agent knows."),
        "map": Twig(f"{CLI}.mapping:map_table", "Draft the mapping of a table's columns, or try the one it has."),
        "check": Twig(f"{CLI}.data:check", "Hold a table against a study: what fits, what to mend."),
        "remove": Twig(f"{CLI}.data:remove", "Forget a table; the file stays."),
    },
)
STUDY = Branch(
    "study",
    "Studies: write, check, run, watch, read the results.",
    {
        "new": Twig(f"{CLI}.draft:new", "Draft a manifest, from a template or from a file's columns."),
        "check": Twig(f"{CLI}.draft:check", "Read a manifest as a hospital would, and say what it asks for."),
        "dictionary": Twig(f"{CLI}.dictionary:export", "A study's variables as a data dictionary, an empty table, or for REDCap."),
        "list": Twig(f"{CLI}.study:list_studies", "The studies at the coordinator."),
        "show": Twig(f"{CLI}.study:show", "One study: its manifest, its digest, its runs."),
        "start": Twig(f"{CLI}.study:start", "Submit a manifest, or name a study, and start a run."),
        "watch": Twig(f"{CLI}.study:watch", "Follow a run; Ctrl-C leaves it running."),
        "pause": Twig(f"{CLI}.study:pause", "Let a run rest after its present round."),
        "resume": Twig(f"{CLI}.study:resume", "Let a paused run go on."),
        "stop": Twig(f"{CLI}.study:stop", "End a run; what it has learned is kept."),
        "results": Twig(f"{CLI}.study:results", "The comparison sheet of a finished run; --save keeps its model."),
        "report": Twig(f"{CLI}.study:report", "Write a run's report as one HTML file."),
    },
)
MODEL = Branch(
    "model",
    "Trained models: list, read, use on a file, export.",
    {
        "list": Twig(f"{CLI}.model:list_models", "The models in a folder."),
        "show": Twig(f"{CLI}.model:show", "A model's card: what for, learned from whom, how good."),
        "use": Twig(f"{CLI}.model:use", "Estimate for the rows of a file; nothing is sent."),
        "export": Twig(f"{CLI}.model:export", "Write boosted trees in the JSON that XGBoost loads."),
    },
)
LOG = Branch(
    "log",
    "The coordinator's log: what was done, and proof that nobody changed it.",
    {
        "show": Twig(f"{CLI}.log:show", "The newest entries."),
        "export": Twig(f"{CLI}.log:export", "Write the whole log into a file."),
        "verify": Twig(f"{CLI}.log:verify", "Check such a file, with no network."),
    },
)
ROOT = Branch(
    "collegium",
    "Hospitals train one model together, and no record leaves home.",
    {
        "demo": Twig(f"{CLI}.demo:demo", "A whole federation on this machine, on real patients."),
        "coordinator": COORDINATOR,
        "site": SITE,
        "data": DATA,
        "invite": INVITE,
        "study": STUDY,
        "model": MODEL,
        "log": LOG,
        "console": Twig(f"{CLI}.console:console", "The researcher's pages in a browser: new study, live runs, results."),
        "simulate": Twig(f"{CLI}.simulate:simulate", "Run a study over local files, as if each were a hospital."),
        "version": Twig(f"{CLI}.about:version", "The version of Collegium and what it runs on."),
        "completion": Twig(f"{CLI}.about:completion", "A script that completes commands in bash, zsh or fish."),
    },
)


def welcome(ctx: click.Context) -> None:
    """What `collegium` alone prints: what is set up here, and the next sensible command."""
    from collegium.cli import about  # local: only `collegium` alone needs it

    about.welcome(screen_of(ctx))


collegium: Command = ROOT.build(alone=welcome)
