"""The light study's page, as a Jinja template."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>precortical: recognition when the light changes</title>
<style>{{ style }}</style></head><body>
<h1>Recognition when the light changes</h1>
<p class="lead">{{ verdict }}</p>
<p>{{ images }} under a reference light, white at 200 cd/m², and under other lights. Each arm stands between the light and the
same classifier (instance_norm and batch_norm stand within it), trained in the reference light, all but those marked † ({{
met.seeds }} seeds{% if met.test %}, {{ met.test }} test images{% endif %}{% if settings.search %}; rate and scale of maps
searched for every arm alike{% endif %}).
<i>Settled</i>: adapted to the image under wandering gaze. <i>Sudden</i>: adapted to an even grey of 40 cd/m², the new light
arriving with the image.</p>
{% if findings %}<h2>What it was to show</h2>
<div class="wide"><table><tr><th>lights</th><th></th><th class="words">front_end_lgn is</th><th>difference, points</th>
<th>95 % interval</th></tr>{% for f in findings %}<tr><td>{{ f.group }}</td><td class="{{ 'yes' if f.met else 'no' }}">{{
"holds" if f.met else "misses" }}</td><td class="words">{{ f.goal }}</td><td>{{ "%+.1f"|format(f.difference) }}</td>
<td>{{ "%+.1f"|format(f.low) }} to {{ "%+.1f"|format(f.high) }}</td></tr>{% endfor %}</table></div>
<p><small>{% if settings.dataset != "fashion-mnist" %}Goals were set for Fashion-MNIST; of other images they are told for
comparison. {% endif %}Paired by seed and image, bootstrap over both.{% if contrasts %} The primary
contrasts on local lights, corrected for how many they are (Holm):
{% for name, c in contrasts.items() %}against {{ name }} {{ "%+.1f"|format(100 * c.mean) }} ({{
"%+.1f"|format(100 * c.low) }} to {{ "%+.1f"|format(100 * c.high) }}, p = {{ "%.2g"|format(c.corrected) }}){{ "; " if not
loop.last }}{% endfor %}.{% endif %}</small></p>{% endif %}
<h2>Accuracy by group of lights</h2>
{% for classifier, rows in tables.items() %}{% if tables|length > 1 %}<h3>{{ classifier }}</h3>{% endif %}
<div class="wide"><table><tr><th>arm</th><th>adaptation</th>{% for group in groups %}<th>{{ group }}</th>{% endfor %}
<th>images</th><th>images/s</th></tr>
{% for row in rows %}<tr{% if row.own %} class="own"{% endif %}><td>{{ row.arm }}{{ " †" if row.bound }}</td>
<td>{{ row.state }}</td>
{% for group in groups %}<td{% if row.groups[group] and row.groups[group].best %} class="best"{% endif %}>{% if
row.groups[group] %}{{ "%.1f"|format(row.groups[group].mean) }} <small>{{ "%.1f"|format(row.groups[group].low) }}–{{
"%.1f"|format(row.groups[group].high) }}</small>{% endif %}</td>{% endfor %}<td>{{ row.n }}</td><td>{{ row.speed }}</td></tr>
{% endfor %}</table></div>{% endfor %}
<p><small>Percent: mean over lights of the mean over their levels, those that development looked at left out; small: 95 %
intervals, bootstrap over seeds and images. Bold: the best arm that met all images. †: trained in the lights of the test, a bound
rather than a rival. {% if met.simulated %}Simulated arms read Brian2's responses to every image, {{ met.simulated }} for the test
and at most {{ settings.simulated_train }} for training, at one or two levels a light, in as many steps as the others: their rows
compare with the others only roughly. {% endif %}Images: of the test. Images a second: one process, one thread, to
the maps.</small></p>
<h2>Light by light</h2>
<div class="key">{% for arm, colour in colours.items() %}<span style="--of: {{ colour }}">{{ arm }}</span>{% endfor %}<span
style="--of: #9a9fa888">other arms</span></div>
<div class="tiles">{% for light, does, figure in lights.values() %}<figure><figcaption>{{ light
}}<small>{{ does }}</small></figcaption>{{ figure|safe }}</figure>
{% endfor %}</div>
<p><small>LeNet's accuracy (%) against each light's level; dashed: adapted to the reference field, the light arriving suddenly.
Bands: least to largest seed.</small></p>
{% if lesions %}<h2>Which mechanism does it</h2>
{% for station, figure in lesions.items() %}<div class="wide">{{ figure|safe }}</div>{% endfor %}
<p><small>Settled; percent right by group of lights; {{ met.lesioned }} test images, one level a light, simulated. Filled: the
classifier trained anew on the lesioned circuit's responses. Open: the classifier of the intact circuit reads them. Bars: 95 %.
</small></p>
<details><summary>In numbers</summary><div class="wide"><table><tr><th>circuit</th><th class="words">mechanisms</th>
<th>classifier</th><th>lights</th><th>percent right</th></tr>
{% for row in lesion_rows %}<tr><td>{{ row.station }}</td><td class="words">{{ row.lesion|replace("_", " ") }}</td>
<td>{{ row.classifier }}</td><td>{{ row.group }}</td><td>{{ "%.1f"|format(100 * row.mean) }} <small>{{
"%.1f"|format(100 * row.low) }}–{{ "%.1f"|format(100 * row.high) }}</small></td></tr>{% endfor %}</table></div></details>
{% endif %}
{% if agreement %}<h2>What the learned pathway keeps of the simulated one</h2>
{% for arm, figure in agreement_figures.items() %}<h3>{{ arm }}</h3><div class="wide">{{ figure|safe }}</div>{% endfor %}
<div class="wide"><table><tr><th>station</th><th>adaptation</th><th>lights</th><th>simulated</th><th>learned</th>
<th>difference, points</th><th>95 % interval</th><th>R² of responses</th></tr>
{% for row in agreement %}<tr><td>{{ row.arm }}</td><td>{{ row.state }}</td><td>{{ row.group }}</td>
<td>{{ "%.1f"|format(row.simulated) }}</td><td>{{ "%.1f"|format(row.learned) }}</td><td>{{ "%+.1f"|format(row.difference) }}</td>
<td>{{ "%+.1f"|format(row.low) }} to {{ "%+.1f"|format(row.high) }}</td><td>{{ "%.3f"|format(row.r2) }}</td></tr>{% endfor %}
</table></div><p><small>One classifier, trained on the circuit's responses, reads the circuit's and the front end's to the same
test images (squares: the circuit's, circles: the front end's). R²: median over channels, mean over the group's lights.
</small></p>{% endif %}
{% if spikes %}<h2>What it costs that cells fire, and whether pooling pays it back</h2>
<div class="wide"><table><tr><th class="words">question</th><th>classifier</th><th>adaptation</th><th>lights</th>
<th>difference, points</th><th>95 % interval</th></tr>
{% for row in spikes %}<tr><td class="words">{{ row.question }}</td><td>{{ row.classifier }}</td><td>{{ row.adaptation }}</td>
<td>{{ row.lights }}</td><td>{{ "%+.1f"|format(100 * row.difference) }}</td>
<td>{{ "%+.1f"|format(100 * row.low) }} to {{ "%+.1f"|format(100 * row.high) }}</td></tr>{% endfor %}
</table></div><p><small>The simulated relay: rates, or spikes of one trial, each cell alone or pooled with some 13 neighbours
(Gaussian of one pixel); each with classifiers of its own. Dark: exposures below 1, exact and in 8 bits.</small></p>{% endif %}
{% if costs %}<h2>What it costs</h2><div class="wide">{{ costs|safe }}</div>
<p><small>LeNet, settled, the best in local lights on top; bars: 95 %. Images a second from the light to the maps. †: trained in
the lights of the test.</small></p>{% endif %}
<h2>How near the fitted front end comes to the circuit</h2>
<p>V1 has {{ settings.kinds }} kinds of cells here, the first of the preset's, each a simple and a complex one.</p>
<div class="wide"><table><tr><th>station</th>{% for name in fit.lgn %}<th>{{ name|replace("_", " ") }}</th>{% endfor %}</tr>
{% for station, sets in fit.items() %}<tr><td>{{ station }}</td>{% for median, least in sets.values() %}
<td>{{ "%.4f"|format(median) }} <small>{{ "%.4f"|format(least) }}</small></td>{% endfor %}</tr>{% endfor %}</table></div>
<p><small>R², median and least over channels, on stimuli that the fit never saw: patches of other photographs at the light it was
fitted in; the same in light and after fields between and beyond; gratings and spots; photographs under gradients and shadows.
</small></p>
<h2>Receptive fields: simulated over fitted</h2>
<div class="wide">{{ kernels|safe }}</div>
<p><small>Equivalent kernels, red for more rate with more light; each pair shares its scale; 29 pixels, 1.8°. Relay cells: about
an even field of 100 cd/m². V1's cells, with their preferred orientations, square what drives them: about noise of that mean, of
contrast .5; cells that are silent before it are left out. Median correlation: {% for s, c in correlations.items() %}{{ s }} {{
"%.4f"|format(c) }} {% endfor %}</small></p>
<h2>One image under every light</h2>
<div class="wide">{{ examples|safe }}</div>
<p><small>Settled. The light is drawn from its darkest to its lightest, cones likewise; LGN is 0 to 60 Hz, V1 (the most active
cell at each place) 0 to 100 Hz.</small></p>
</body></html>
"""
