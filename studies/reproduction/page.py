"""The reproduction's page, as a Jinja template."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>precortical: the seed paper, reproduced</title>
<style>{{ style }}</style></head><body>
{% macro points(value) %}{{ "%+.1f"|format(100 * value) }}{% endmacro %}
<h1>A precortical module for robust CNNs to light variations: reproduced</h1>
<p class="lead">Of the {{ counted.values()|sum }} published numbers of the small sweeps {{ counted["reproduced"] }} are
reproduced, {{ counted["not reproduced"] }} are not, {{ counted["inconclusive"] }} are inconclusive,
{{ counted["not comparable"] }} are not
comparable{% if counted["not run"] %}, {{ counted["not run"] }} were not run{% endif %}.</p>
<h2>Ten lines</h2>
<div class="wide"><table><tr><th class="words">claim</th>{% for d in datasets %}<th>{{ names[d] }}</th>{% endfor %}</tr>
{% for claim in claims %}<tr><td class="words">{{ claim.words }}</td>{% for d in datasets %}{% set j = claim.judged[d] %}<td>{% if
j %}<span class="{{ {true: 'yes', false: 'no'}.get(j.holds, 'quiet') }}">{{ {true: "holds", false: "fails"}.get(j.holds, "open")
}}</span> {{ points(j.difference) }} <small>{{ points(j.low) }} to {{ points(j.high) }}<br>{{ j.budget }}{% if j.published is not
none %}, published {{ points(j.published) }}{% endif %}</small>{% else
%}<span class="quiet">not run</span>{% endif %}</td>{% endfor %}</tr>{% endfor %}</table></div>
<p><small>Difference in points, of means over seeds; Welch's interval of 95 %; at the largest budget that both arms
were run at. Published differences are of one seed, and of all of SVHN. Luminosity and contrast: means over the small sweeps;
where neither is named, over both. A claim is open where the interval holds both answers. Networks of one seed meet the images
in the same order, and begin alike where their layers are alike: Welch's interval takes them for independent. It holds what
seeds differ by, not what other test images would, and is not widened for the number of claims.</small></p>
<h2>Published beside ours</h2>
{% for dataset, rows in verdicts.items() %}<h3>{{ names[dataset] }}</h3>
<div class="wide"><table><tr><th>arm</th>{% for head in ("μ, mean", "μ, minimum", "σ, mean", "σ, minimum") %}<th>{{ head
}}</th>{% endfor %}</tr>{% for row in rows %}<tr><td>{{ row.arm }}</td>{% for n in row.numbers %}<td>{{ "%.3f"|format(n.published)
}} → {% if n.mean is not none %}{{ "%.3f"|format(n.mean) }}{% if n.low is not none %} <small>{{ "%.3f"|format(n.low) }} to {{
"%.3f"|format(n.high) }}</small>{% endif %}{% endif %}<br><small class="{{ {'reproduced': 'yes', 'not reproduced':
'no'}.get(n.verdict, 'quiet') }}">{{ n.verdict }}{% if n.budget %}, {{ n.budget }}{% endif %}</small></td>{% endfor %}</tr>{%
endfor %}</table></div>{% endfor %}
<p><small>Published accuracy of one seed → mean of ours, and where one more seed of ours would lie with 95 %. <i>Reproduced</i>:
that interval holds the published number and is at most 5 points wide to either side; <i>inconclusive</i>: it is wider; <i>not
comparable</i>: another budget, or fewer images, than published. One in twenty would lie outside by chance; the numbers of an arm
hang together (what an arm cannot see leaves its four alike), and t's intervals may leave 0 to 1.</small></p>
{% macro looked(rows) %}<div class="wide"><table><tr><th>data set</th><th>arm</th><th>number</th><th>published</th>
<th class="words">ours</th></tr>{% for c in rows %}<tr><td>{{ names[c.dataset] }}</td><td>{{ c.arm }}</td><td>{{ c.what }}</td>
<td>{{ "%.3f"|format(c.published) }}</td><td class="words">{% for budget, b in c.beside.items() %}{{ budget }}: {% for value in
b.seeds|sort %}{{ "%.3f"|format(value) }} {% endfor %}<small>{% if b.low is not none %}{{ "%.3f"|format(b.low) }} to {{
"%.3f"|format(b.high) }}{% if b.holds %}, holds what is published{% endif %}{% endif %}{% if b.one_class %}; {{ b.one_class }} of
{{ b.seeds|length }} name one class{% endif %}</small>{% if not loop.last %}<br>{% endif %}{% endfor %}</td></tr>{% endfor
%}</table></div>{% endmacro %}
{% if causes or unaltered %}<h3>Looked into: what lies outside, and unaltered images</h3>
{{ looked(causes + unaltered) }}
<p><small>Published numbers outside our interval, however wide it is, and those of unaltered images, which seeds hardly differ in:
every seed at every budget that was run, and where one more would lie. <i>Notebook</i>: the schedule of a notebook of 2021 in the
authors' repository, 15 epochs at 10⁻³, 5 at 10⁻⁴ and 3 at 10⁻⁵, which may have trained the published LeNet and RetiLeNet;
<i>fast</i>: 20 at 3·10⁻³, 5 at 10⁻⁵; <i>long</i>: 60 at 10⁻³, 5 at 10⁻⁵. A network that names one class whatever it is shown has
that class's share, and no spread.</small></p>{% endif %}
<h2>Every arm</h2>
{% for one in ran %}<h3>{{ names[one.dataset] }}, {{ one.budget }} budget <small>{{ "{:,}".format(one.images[0]) }} training
images, {{ "{:,}".format(one.images[1]) }} for tests</small></h3>
<div class="wide"><table><tr><th>arm</th><th>seeds</th><th>unaltered</th><th>μ</th><th>σ</th><th>μ, large</th><th>σ,
large</th></tr>
{% for row in one.arms %}<tr><td>{{ row.arm }}</td><td>{{ row.seeds }}</td>{% for sweep in ("clean", "mu", "sigma", "mu_large",
"sigma_large") %}<td>{% if sweep in row.means %}{{ "%.1f"|format(row.means[sweep].mean) }}{% if row.means[sweep].half is not none
%} <small>± {{ "%.1f"|format(row.means[sweep].half) }}</small>{% endif %}{% endif %}</td>{% endfor %}</tr>{% endfor
%}</table></div>
<div class="wide">{{ sweeps[one.dataset ~ "-" ~ one.budget]|safe }}</div>{% endfor %}
<div class="key">{% for arm, colour in colours.items() %}<span style="--of: {{ colour }}">{{ arm }}</span>{% endfor %}<span
style="--of: #9a9fa8">other arms (dashed: augmented)</span></div>
<p><small>Percent right, means over seeds and a sweep's levels; ±: half of the interval in which one more seed would lie. Bands:
least to largest seed. front_end_lgn takes luminance: it sees each sweep, training included, through one affine map to 1–200
cd/m², which leaves black and white of an unaltered image a Michelson contrast of {{ "%.2f"|format(contrast.mu) }} (μ), {{
"%.2f"|format(contrast.mu_large) }} (μ, large) and {{ "%.2f"|format(contrast.sigma) }} (σ, both); unaltered images are those of
μ = 0.</small></p>
{% if kernels %}<h2>What the kernels learn</h2>
{% for called, figure in kernels.items() %}<h3>{{ called }}</h3><div class="wide">{{ figure|safe }}</div>{% endfor %}
<p><small>Kernels of the modules' layers, seed by seed, red positive; under each |Σw| / Σ|w|, 0 for a kernel that an even field
leaves silent, 1 for one of a single sign. Of colours: the first output's kernels, summed over inputs, and the mean ratio over
outputs.</small></p>
<div class="wide"><table><tr><th>kernels</th><th>arm</th><th>layer</th><th>seeds</th><th>|Σw| / Σ|w|</th><th>centre and
surround</th><th>isotropy</th></tr>
{% for row in layers %}<tr><td>{{ names[row.dataset] }}, {{ row.budget }}</td><td>{{ row.arm }}</td><td>{{ row.layer }}</td><td>{{
row.seeds }}</td>{% for what in measures %}<td>{{ "%.2f"|format(row[what ~ "_before"][0]) }} → {{ "%.3f"|format(row[what][0])
}} <small>{{ "%.3f"|format(row[what][1]) }}–{{ "%.3f"|format(row[what][2]) }}</small></td>{% endfor %}</tr>{% endfor
%}</table></div>
<p><small>Medians over seeds before training → after it, least to largest. Centre and surround: the share of a kernel that is a
balanced centre and surround; 1 for a difference of Gaussians that sums to zero, 0 for a blob or an edge. Isotropy: the share of
Σw² that depends on the distance from the centroid alone; 1 for what is round, 0 for an edge, .1 to .2 for noise. A bar with
flanks may have .9 of the first, but not of the second. Published of the first layer's |Σw| / Σ|w|: MNIST .12, Fashion-MNIST .005,
SVHN .001 to .015.</small></p>
<h2>Does robustness follow them?</h2>
<div class="wide">{{ follows|safe }}</div>
<div class="wide"><table><tr><th>networks</th><th>how many</th><th>of the first kernels</th>{% set of = ("mu, across arms",
"mu, within arms", "sigma, across arms", "sigma, within arms") %}{% for one in of %}<th>ρ with {{ one|replace("mu", "μ")|replace(
"sigma", "σ")|replace(", ", ",<br>")|safe }}</th>{% endfor %}</tr>
{% for row in correlations %}<tr><td>{% if row.dataset == "all" %}all{% else %}{{ names[row.dataset] }}, {{ row.budget }}{% endif
%}</td><td>{{ row.networks }}</td><td>{{ {"balance": "|Σw| / Σ|w|", "centre_surround": "centre and surround"}[row.what] }}</td>{%
for one in of %}<td>{% if one in row.by %}{{ "%+.2f"|format(row.by[one].rho) }} <small>{% if row.by[one].low == row.by[one].low
%}{{ "%+.2f"|format(row.by[one].low) }} to {{ "%+.2f"|format(row.by[one].high) }}{% else %}too few{% endif %}</small>{% endif
%}</td>{% endfor %}</tr>{% endfor %}</table></div>
<p><small>Spearman's ρ and its interval of 95 %, of modules whose first kernels are free: those held to a zero sum are
left out, and so are places with fewer than eight networks, but from the last lines. Within arms: each arm's mean rank taken off
(all: each data set's, budget's and arm's). Across arms the interval takes networks of an arm for independent, and is too narrow
where arms differ. Balance that protects has a ρ below 0.</small></p>{% endif %}
</body></html>
"""
