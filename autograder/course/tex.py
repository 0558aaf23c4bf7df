r"""TeX that formgrader may typeset: MathJax knows commands that make links, load code, and draw over their neighbours.

Whatever is not on these lists stays text; nobody needs more to say why a convolution is cheap.
"""

from __future__ import annotations

import re

_COMMANDS = """
alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa varkappa lambda mu nu xi omicron pi varpi
rho varrho sigma varsigma tau upsilon phi varphi chi psi omega digamma Gamma Delta Theta Lambda Xi Pi Sigma Upsilon
Phi Psi Omega aleph beth hbar ell wp Re Im partial nabla infty emptyset varnothing forall exists nexists neg lnot top
bot angle triangle square blacksquare Box Diamond diamond star bigstar prime backprime degree S P dagger ddagger sum
prod coprod int iint iiint oint bigcup bigcap bigoplus bigotimes bigvee bigwedge biguplus bigsqcup bigodot pm mp times
div cdot ast circ bullet oplus ominus otimes oslash odot cup cap uplus sqcup sqcap vee wedge lor land setminus
smallsetminus wr amalg bmod pmod mod le leq ge geq ne neq lt gt ll gg lll ggg leqslant geqslant lesssim gtrsim lessgtr
gtrless equiv sim simeq approx cong doteq propto asymp models perp mid nmid parallel nparallel subset supset subseteq
supseteq nsubseteq nsupseteq subsetneq supsetneq in notin ni sqsubseteq sqsupseteq prec succ preceq succeq vdash dashv
not colon coloneqq triangleq to gets leftarrow rightarrow leftrightarrow Leftarrow Rightarrow Leftrightarrow
longleftarrow longrightarrow longleftrightarrow Longleftarrow Longrightarrow Longleftrightarrow mapsto longmapsto
hookleftarrow hookrightarrow uparrow downarrow updownarrow Uparrow Downarrow iff implies impliedby nearrow searrow
swarrow nwarrow rightleftharpoons leadsto therefore because ldots cdots vdots ddots dots dotsc dotsb dotsm dotsi sin
cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth exp log ln lg lim limsup liminf max min sup inf arg
argmax argmin det dim gcd hom ker deg Pr frac dfrac tfrac cfrac binom dbinom tbinom sqrt over choose atop stackrel
overset underset substack hat widehat tilde widetilde bar overline underline vec dot ddot check breve acute grave
mathring overbrace underbrace overrightarrow overleftarrow mathrm mathbf mathit mathsf mathtt mathcal mathbb mathfrak
mathscr mathnormal boldsymbol bm pmb text textrm textbf textit textsf texttt mbox operatorname rm bf it sf tt cal
displaystyle textstyle scriptstyle scriptscriptstyle limits nolimits left right middle big Big bigg Bigg bigl bigr
bigm Bigl Bigr Bigm biggl biggr biggm Biggl Biggr Biggm langle rangle lceil rceil lfloor rfloor lbrace rbrace lbrack
rbrack lvert rvert lVert rVert vert Vert backslash quad qquad thinspace begin end nonumber notag hline
"""
COMMANDS = frozenset(_COMMANDS.split())
SIGNS = frozenset(",;:!{}|\\$%&#_>/ \n")
_ENVIRONMENTS = """
align alignat aligned array Bmatrix bmatrix cases equation gather gathered matrix multline pmatrix smallmatrix split
Vmatrix vmatrix
"""
ENVIRONMENTS = frozenset(_ENVIRONMENTS.split())
COMMAND = re.compile(r"\\([a-zA-Z]+|.|$)", re.DOTALL)
ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*(?:\{([^{}]*)\})?")


def is_plain_tex(text: str) -> bool:
    """Whether a formula holds only known commands, signs and environments, and does not end its own mathematics."""
    names = ENVIRONMENT.findall(text)
    if not all(name.removesuffix("*") in ENVIRONMENTS for name in names):
        return False
    known = all(command in COMMANDS or command in SIGNS for command in COMMAND.findall(text))
    return known and "$" not in COMMAND.sub("", text)
